"""Runs a schedule on a GPU: the whole of it captured once, and replayed at each call."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import torch

from mlsys_ray.ios.engines.cuda.kernels import PLAIN
from mlsys_ray.ios.engines.cuda.launches import Launch, launches
from mlsys_ray.ios.engines.cuda.network import Network, Replay
from mlsys_ray.ios.engines.stages import PlacedStage, placed
from mlsys_ray.ios.events import Event
from mlsys_ray.ios.graph import Graph
from mlsys_ray.ios.primitives import Opaque
from mlsys_ray.ios.schedule import Schedule, check

MAX_STREAMS = 32


class CudaEngine:
    """A graph as a schedule says, on a GPU; a context manager, which frees its memory.

    Groups run on streams, a stage's after those of the stage before. All of it is one CUDA graph,
    unless an operator cannot be captured: then it is given to the streams at every call.

    Args:
        graph: of the examples' shapes; it is copied to the device, in the schedule's precision.
        schedule: of this graph.
        device: where it runs.
        cuda: the interface of `torch.cuda`: streams, events and graphs.

    Attributes:
        reason: why there is no CUDA graph; None where there is one.

    Raises:
        ValueError: the schedule is not one of this graph.
    """

    def __init__(
        self,
        graph: Graph,
        schedule: Schedule,
        device: torch.device | None = None,
        cuda: Any = torch.cuda,
    ) -> None:
        check(schedule, graph)
        self._graph = graph
        self._stages = placed(graph, schedule, MAX_STREAMS)
        self._network = Network(
            graph,
            schedule.precision,
            _num_streams(self._stages),
            torch.device("cuda") if device is None else device,
            cuda,
        )
        examples = (x.clone() for x in self._network.graph.examples)
        self._inputs = dict(zip(graph.inputs, examples, strict=True))
        self._one_at_a_time = threading.Lock()
        self._replay: Replay | None = None
        self.reason = why_not_captured(graph)
        if self.reason is None:
            try:
                self._replay = self._network.replay(self._stages, self._inputs, graph.outputs)
            except RuntimeError as error:
                self.reason = next(iter(str(error).splitlines()), type(error).__name__)
        self._program = launches(self._network.graph, self._stages, {*self._inputs, *graph.outputs})

    def __call__(self, *inputs: torch.Tensor) -> tuple[Any, ...]:
        """The graph's outputs, on the device, of the dtypes that the source gives.

        Raises:
            ValueError: an input has another shape or dtype than its example.
        """
        for value, example in zip(inputs, self._graph.examples, strict=True):
            if value.shape != example.shape or value.dtype != example.dtype:
                raise ValueError(
                    f"the input is {tuple(value.shape)} {value.dtype}; this schedule is for"
                    f" {tuple(example.shape)} {example.dtype}"
                )
        with self._one_at_a_time, torch.inference_mode():
            for name, value in zip(self._graph.inputs, inputs, strict=True):
                self._inputs[name].copy_(value, non_blocking=True)
            if self._replay is None:
                values = self._network.eagerly(self._program, self._inputs)
            else:
                self._replay.run()
                values = self._replay.values
            return tuple(self._given(name, values[name]) for name in self._graph.outputs)

    def _given(self, name: str, value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        node = self._graph.nodes.get(name)
        dtype = value.dtype if node is None or node.dtype is None else node.dtype
        # The next call writes to the same memory.
        return value.to(dtype, copy=True)

    def events(self) -> list[Event]:
        """When each operator runs, by a run with an event before and behind each."""
        replay = self._network.replay(
            self._stages, self._inputs, self._graph.outputs, marked_launches=True
        )
        replay.run()
        times = replay.marks()
        replay.close()
        units = [step for step in self._program if isinstance(step, Launch)]
        return [
            Event(
                name=" + ".join(self._graph.operators[i].name for i in unit.operators),
                thread=unit.stream,
                start=1e6 * begin,
                duration=1e6 * (end - begin),
                stage=unit.stage,
                kernel=unit.variant or PLAIN,
            )
            for unit, begin, end in zip(units, times[::2], times[1::2], strict=True)
        ]

    def close(self) -> None:
        """Free its memory."""
        if self._replay is not None:
            self._replay.close()
            self._replay = None
        self._inputs = {}

    def __enter__(self) -> CudaEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _num_streams(stages: Sequence[PlacedStage]) -> int:
    return 1 + max((group.workers.start for stage in stages for group in stage.groups), default=0)


def why_not_captured(graph: Graph) -> str | None:
    """Why a graph cannot be captured, as far as it can be told beforehand."""
    for operator in graph.operators:
        for node in operator.nodes:
            primitive = node.primitive
            if isinstance(primitive, Opaque) and isinstance(primitive.target, torch.nn.Module):
                return "the module runs whole, as it could not be exported"
    return None
