"""Schedules by PyTorch's own operators, a thread a group: it runs anywhere and is the reference.

Each operator is a call from Python, so small ones are slow here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import torch

from mlsys_ray.ios.events import Event
from mlsys_ray.ios.graph import Graph, Operator, run_operator
from mlsys_ray.ios.schedule import Schedule, check


class PyTorchEngine:
    """Runs a graph as a schedule says; a context manager, which ends its threads.

    A stage of one group has all threads of PyTorch to itself; several groups share them out.

    Raises:
        ValueError: the schedule is not one of this graph.
    """

    def __init__(self, graph: Graph, schedule: Schedule) -> None:
        check(schedule, graph)
        by_name = {operator.name: operator for operator in graph.operators}
        self._graph = graph
        self._stages = [
            [[by_name[name] for name in group] for group in stage] for stage in schedule.stages
        ]
        widest = max((len(stage) for stage in self._stages), default=1)
        self._spans: list[list[list[Span]]] = []
        self._pool = ThreadPoolExecutor(max_workers=widest, thread_name_prefix="ios-group")

    def __call__(self, *inputs: torch.Tensor) -> tuple[Any, ...]:
        """The graph's outputs."""
        values: dict[str, Any] = dict(zip(self._graph.inputs, inputs, strict=True))
        threads = torch.get_num_threads()
        self._spans = []
        with torch.inference_mode():
            for stage in self._stages:
                if len(stage) == 1:
                    self._spans.append([_run_group(stage[0], values)])
                    continue
                width = max(1, threads // len(stage))
                running = [self._pool.submit(_run_beside, group, values, width) for group in stage]
                self._spans.append([group.result() for group in running])
        return tuple(values[name] for name in self._graph.outputs)

    def events(self) -> list[Event]:
        """What the last call ran when; a group is a thread."""
        start = min((s.begin for stage in self._spans for g in stage for s in g), default=0.0)
        return [
            Event(
                name=span.name,
                thread=thread,
                start=1e6 * (span.begin - start),
                duration=1e6 * (span.end - span.begin),
                stage=number,
            )
            for number, stage in enumerate(self._spans)
            for thread, group in enumerate(stage)
            for span in group
        ]

    def close(self) -> None:
        """End its threads."""
        self._pool.shutdown()

    def __enter__(self) -> PyTorchEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Span(NamedTuple):
    """An operator that ran, with its begin and end [s]."""

    name: str
    begin: float
    end: float


def _run_group(group: Sequence[Operator], values: dict[str, Any]) -> list[Span]:
    spans = []
    for operator in group:
        begin = time.perf_counter()
        run_operator(operator, values)
        spans.append(Span(operator.name, begin, time.perf_counter()))
    return spans


def _run_beside(group: Sequence[Operator], values: dict[str, Any], width: int) -> list[Span]:
    # Both settings are of the calling thread alone.
    torch.set_num_threads(width)
    with torch.inference_mode():
        return _run_group(group, values)
