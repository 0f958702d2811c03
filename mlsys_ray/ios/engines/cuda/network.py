"""A graph on a GPU, whose stages can be captured and replayed in any composition."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch

from mlsys_ray.ios.devices import DTYPES, Precision, arithmetic
from mlsys_ray.ios.engines.cuda import kernels
from mlsys_ray.ios.engines.cuda.launches import (
    MAIN,
    Drop,
    Instruction,
    Launch,
    Mark,
    Record,
    Wait,
    launches,
)
from mlsys_ray.ios.engines.stages import PlacedStage
from mlsys_ray.ios.graph import Graph
from mlsys_ray.ios.merge import Merged, merge

WARMUPS = 3
"""Runs before a capture, in which libraries choose algorithms and take their workspaces."""


class Network:
    """A graph, ready to be run in stages of any kind.

    Args:
        graph: what is run.
        precision: of the arithmetic.
        num_streams: that groups are given to.
        device: where it is.
        cuda: the interface of `torch.cuda`: streams, events and graphs.
    """

    def __init__(
        self,
        graph: Graph,
        precision: Precision,
        num_streams: int,
        device: torch.device,
        cuda: Any = torch.cuda,
    ) -> None:
        self.precision, self.cuda = precision, cuda
        self.graph = kernels.on_device(graph, device, DTYPES[precision])
        self.streams = [cuda.Stream() for _ in range(num_streams)]
        self._merged: dict[tuple[int, ...], Merged] = {}

    def replay(
        self,
        stages: Sequence[PlacedStage],
        values: dict[str, Any],
        kept: Collection[str],
        *,
        marked_stages: Collection[int] = (),
        marked_launches: bool = False,
    ) -> Replay:
        """Stages as one CUDA graph.

        Args:
            stages: in the order in which they run.
            values: tensors that are there when they begin; each replay reads them anew.
            kept: of the values that they give, those that are wanted.
            marked_stages: see `launches`.
            marked_launches: see `launches`.

        Raises:
            RuntimeError: an operator cannot be captured.
        """
        program = launches(
            self.graph,
            stages,
            {*values, *kept},
            marked_stages=marked_stages,
            marked_launches=marked_launches,
        )
        return Replay(self, program, values)

    def run(self, program: Sequence[Instruction], values: dict[str, Any], marks: list[Any]) -> None:
        """Give instructions to the streams; the main one has to be behind what they take."""
        events: dict[int, Any] = {}
        for step in program:
            match step:
                case Launch(operators=operators, variant=variant, stream=stream, merged=merged):
                    with self.cuda.stream(self.streams[stream]):
                        self._launch(operators, variant, merged, values)
                case Record(event=event, stream=stream):
                    events[event] = self.cuda.Event()
                    events[event].record(self.streams[stream])
                case Wait(event=event, stream=stream):
                    self.streams[stream].wait_event(events[event])
                case Mark(mark=mark, stream=stream):
                    marks[mark].record(self.streams[stream])
                case Drop(values=names):
                    for name in names:
                        del values[name]

    def eagerly(self, program: Sequence[Instruction], values: dict[str, Any]) -> dict[str, Any]:
        """Run instructions without a graph; the values at the end."""
        own = dict(values)
        marks = [self.cuda.Event() for step in program if isinstance(step, Mark)]
        current = self.cuda.current_stream()
        self.streams[MAIN].wait_stream(current)
        with torch.inference_mode(), arithmetic(self.precision):
            self.run(program, own, marks)
        current.wait_stream(self.streams[MAIN])
        return own

    def _launch(
        self, operators: tuple[int, ...], variant: str | None, merged: bool, values: dict[str, Any]
    ) -> None:
        if not merged:
            (operator,) = operators
            kernels.run(self.graph.operators[operator], variant, values)
            return
        if operators not in self._merged:
            chosen = [self.graph.operators[i] for i in operators]
            height, width = values[chosen[0].inputs[0]].shape[2:]
            self._merged[operators] = merge(chosen, (height, width))
        one = self._merged[operators]
        values.update(one.split(one.convolution(values[one.input])))


class Replay:
    """A captured program.

    Args:
        network: that it is of.
        program: its instructions.
        values: tensors that it begins with.

    Attributes:
        values: what is kept; each run writes to the same memory.
    """

    def __init__(
        self, network: Network, program: Sequence[Instruction], values: dict[str, Any]
    ) -> None:
        cuda = network.cuda
        self._cuda = cuda
        self._graph = cuda.CUDAGraph()
        # Events that are nodes of the graph: they are timed by every replay.
        num_marks = sum(isinstance(step, Mark) for step in program)
        self._marks = [cuda.Event(enable_timing=True, external=True) for _ in range(num_marks)]
        for _ in range(WARMUPS):
            network.eagerly(program, values)
        cuda.synchronize()
        self.values = dict(values)
        with (
            torch.inference_mode(),
            arithmetic(network.precision),
            cuda.graph(self._graph, stream=network.streams[MAIN]),
        ):
            network.run(program, self.values, self._marks)

    def run(self) -> None:
        """Once, on the current stream; it returns before it is over."""
        self._graph.replay()

    def marks(self) -> list[float]:
        """When the marks of the last run were reached, from the first one [s]."""
        self._cuda.synchronize()
        return [1e-3 * self._marks[0].elapsed_time(mark) for mark in self._marks]

    def close(self) -> None:
        """Free its memory."""
        self.values.clear()
        self._graph.reset()
