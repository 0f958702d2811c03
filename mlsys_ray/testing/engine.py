"""What every engine must hold to."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, ClassVar

import torch
from torch import nn

from mlsys_ray.ios.blocks import blocks_of
from mlsys_ray.ios.capture import capture
from mlsys_ray.ios.graph import Graph
from mlsys_ray.ios.schedule import Schedule, digest, stages_of
from mlsys_ray.ios.search.baselines import greedy, sequential
from mlsys_ray.ios.search.counts import within


class EngineTests(ABC):
    """Subclass it as `class TestMyEngine(EngineTests)` and write `make`.

    Attributes:
        relative_error: rounding allowed, in the largest value of an output.
    """

    relative_error: ClassVar[float] = 1e-4

    @abstractmethod
    def make(self, graph: Graph, schedule: Schedule) -> AbstractContextManager[Any]:
        """The engine: called with the graph's inputs, it gives the graph's outputs."""

    def schedules(self, graph: Graph) -> Iterator[Schedule]:
        """One operator a stage, and as many as are ready a stage."""
        for baseline in (sequential, greedy):
            stages = [
                stage
                for block in blocks_of(graph)
                for stage in stages_of(graph, block, baseline(within(graph, block)))
            ]
            yield Schedule(
                graph=digest(graph),
                device="any",
                batch_size=graph.examples[0].shape[0],
                versions={},
                stages=tuple(stages),
            )

    def test_it_computes_what_the_graph_does(self) -> None:
        """By every schedule, on several inputs one after another, and on the first one again."""
        for graph in _graphs():
            for schedule in self.schedules(graph):
                with self.make(graph, schedule) as engine:
                    first = torch.randn_like(graph.examples[0])
                    for x in (first, torch.randn_like(first), first):
                        self._assert_same(engine(x), graph.run(x))

    def test_a_stage_has_several_groups(self) -> None:
        """The schedules above do run groups side by side."""
        widest = max(
            len(stage)
            for graph in _graphs()
            for schedule in self.schedules(graph)
            for stage in schedule.stages
        )
        assert widest >= 3

    def test_inputs_and_results_are_the_callers(self) -> None:
        """A call changes neither its input nor the outputs of the call before."""
        graph = _graphs()[0]
        for schedule in self.schedules(graph):
            with self.make(graph, schedule) as engine:
                x = torch.randn_like(graph.examples[0])
                before = x.clone()
                outputs = engine(x)
                kept = [output.clone() for output in outputs]
                engine(torch.zeros_like(x))
                assert torch.equal(x, before)
                for output, copy in zip(outputs, kept, strict=True):
                    assert torch.equal(output, copy)

    def test_the_schedule_of_another_graph_is_refused(self) -> None:
        """By its digest, before anything runs."""
        one, other = _graphs()
        try:
            self.make(one, next(self.schedules(other)))
        except ValueError:
            return
        raise AssertionError("the engine took the schedule of another graph")

    def test_closing_ends_its_threads(self) -> None:
        """However often engines are made."""
        graph = _graphs()[0]
        x = graph.examples[0]
        before = threading.active_count()
        for _ in range(3):
            for schedule in self.schedules(graph):
                with self.make(graph, schedule) as engine:
                    engine(x)
        deadline = time.monotonic() + 10
        while threading.active_count() > before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert threading.active_count() <= before

    def _assert_same(self, found: Any, expected: Any) -> None:
        assert len(found) == len(expected)
        for own, wanted in zip(found, expected, strict=True):
            assert own.shape == wanted.shape
            limit = self.relative_error * float(wanted.abs().max())
            assert float((own - wanted).abs().max()) <= limit


class _Branches(nn.Module):
    """Three branches of other depths from one value, joined, and a sum around them."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, channels, 3, stride=stride, padding=1)
        self.left = nn.Conv2d(channels, 2 * channels, 1)
        self.middle = nn.Sequential(
            nn.Conv2d(channels, channels, 1), nn.ReLU(), nn.Conv2d(channels, 5, 3, padding=1)
        )
        self.right = nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.Conv2d(channels, 7, 1))
        self.last = nn.Conv2d(2 * channels + 12, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x).relu()
        joined = torch.cat([self.left(x), self.middle(x), self.right(x)], dim=1)
        return x + self.last(joined.relu())


@cache
def _graphs() -> tuple[Graph, ...]:
    graphs = []
    for channels, stride, shape in ((8, 1, (1, 3, 12, 10)), (6, 2, (2, 3, 15, 15))):
        torch.manual_seed(0)
        module = _Branches(channels, stride).eval()
        graphs.append(capture(module, [torch.randn(shape)]).graph)
    return tuple(graphs)
