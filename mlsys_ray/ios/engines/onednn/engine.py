"""Runs a schedule: the graph's operators as one program, replayed at each call."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import Any

import torch

from mlsys_ray.ios.engines.onednn.binding import one_thread
from mlsys_ray.ios.engines.onednn.network import HALIDE, Network, Replay
from mlsys_ray.ios.engines.onednn.runtime import Pool, native
from mlsys_ray.ios.engines.stages import PlacedStage, placed
from mlsys_ray.ios.events import Event
from mlsys_ray.ios.graph import Graph
from mlsys_ray.ios.schedule import Schedule, check


class OneDNNEngine:
    """A graph as a schedule says, on the CPU; a context manager, which ends its threads.

    Args:
        graph: whose tensors are float32 of the examples' shapes.
        schedule: of this graph.
        num_workers: threads.

    Raises:
        ValueError: the schedule is not one of this graph, or for other numbers of threads.
    """

    def __init__(self, graph: Graph, schedule: Schedule, num_workers: int) -> None:
        check(schedule, graph)
        stages = placed(graph, schedule, num_workers)
        self._graph = graph
        self._pool = Pool(num_workers, native())
        halide = any(kernel.startswith(f"{HALIDE}/") for kernel in schedule.kernels.values())
        self._network = Network(graph, self._pool, _moments(graph, stages), halide=halide)
        for stage in stages:
            self._complete(stage)
        self._prologue = self._network.prologue()
        self._stages = stages
        self.replay = self._network.assemble(stages)
        self._one_at_a_time = threading.Lock()
        # In the order in which they rest on one another; also where nobody calls `close`.
        parts = (self.replay, self._prologue, self._network, self._pool)
        self._end = weakref.finalize(self, _close, parts)

    def __call__(self, *inputs: torch.Tensor) -> tuple[Any, ...]:
        """The graph's outputs.

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
            self._network.give(inputs)
            self._prologue.run()
            self.replay.run()
            outputs = (self._network.plain(name) for name in self._graph.outputs)
            with one_thread():
                return tuple(x.clone() if isinstance(x, torch.Tensor) else x for x in outputs)

    def _complete(self, stage: PlacedStage) -> None:
        """Check the kernels of a stage, and take the usual ones where none are named."""
        for group in stage.groups:
            for operator in group.operators:
                known = self._network.variants(operator)
                variant = stage.variants.setdefault(
                    operator, self._network.usual(operator, len(group.workers))
                )
                if variant not in known:
                    raise ValueError(
                        f"{self._graph.operators[operator].name} cannot be computed by {variant!r}"
                        f" here; accepted are {', '.join(known)}"
                    )

    def events(self) -> list[Event]:
        """What the last call ran when."""
        stage_of = {
            operator: number
            for number, stage in enumerate(self._stages)
            for operator in stage.operators
        }
        spans = self.replay.spans()
        start = min((begin for _, _, begin, _ in spans), default=0.0)
        return [
            Event(
                name=self._graph.operators[operator].name,
                thread=worker,
                start=1e6 * (begin - start),
                duration=1e6 * (end - begin),
                stage=stage_of[operator],
                kernel=self._stages[stage_of[operator]].variants[operator],
            )
            for operator, worker, begin, end in spans
        ]

    def close(self) -> None:
        """End its threads and free its memory."""
        self._end()

    def __enter__(self) -> OneDNNEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _close(parts: Sequence[Replay | Network | Pool]) -> None:
    for part in parts:
        part.close()


def _moments(graph: Graph, stages: Sequence[PlacedStage]) -> list[tuple[int, int]]:
    """When each operator may run; those of a stage of several groups at the same time."""
    moments = [(0, 0)] * len(graph.operators)
    now = 0
    for stage in stages:
        begin = now
        if len(stage.groups) == 1:
            for operator in stage.operators:
                moments[operator] = (now, now)
                now += 1
            continue
        now += 1
        for operator in stage.operators:
            moments[operator] = (begin, begin)
    return moments
