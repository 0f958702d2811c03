"""The schedule of one variant: the dynamic programme over measured costs (section 3, 6.1)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mlsys_ray.ios.blocks import Block, blocks_of
from mlsys_ray.ios.bounds import NOISE, one_after_another, stage_bounds
from mlsys_ray.ios.devices import DeviceKind, Precision
from mlsys_ray.ios.engines.stages import PlacedStage
from mlsys_ray.ios.forecast import Forecast, duration
from mlsys_ray.ios.graph import Graph
from mlsys_ray.ios.merge import mergeable_stages
from mlsys_ray.ios.schedule import Schedule, digest, stages_of
from mlsys_ray.ios.search.baselines import greedy, sequential
from mlsys_ray.ios.search.counts import within
from mlsys_ray.ios.search.dynamic_programme import Optimum, search
from mlsys_ray.ios.search.endings import EndingKind, StageSpace, stage_space
from mlsys_ray.ios.stage_costs import MAX_SPLITS, StageCosts, Stopped

Variant = Literal["sequential", "greedy", "ios_merge", "ios_parallel", "ios_both", "ios_mixed"]
VARIANTS: tuple[Variant, ...] = (
    "sequential",
    "greedy",
    "ios_merge",
    "ios_parallel",
    "ios_both",
    "ios_mixed",
)

KERNELS = ("onednn", "winograd", "direct", "fused", "halide")


TELL_SECONDS = 5.0
"""How often a search says how long it will still take [s]."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Of the search.

    Attributes:
        endings: which sets of operators may be a stage.
        max_group_size: operators in a group (r).
        max_groups: groups in a stage (s).
        num_threads: of the engine; PyTorch's number by default.
        budget_seconds: for measuring stages of each variant; what is best by then is taken [s].
        cache: folder of measured latencies; None measures anew.
        device: that it is for.
        precision: of the arithmetic; on a CPU single.
        kernels: that `ios_mixed` may choose from, see `KERNELS`.
        halide_seconds: for measuring the schedules of one kernel by Halide [s].
        halide_limit: after which no further kernel by Halide is begun [s].

    Raises:
        ValueError: a kernel is unknown, or oneDNN's are left out, which know all operators.
    """

    endings: EndingKind = "single-source"
    max_group_size: int = 3
    max_groups: int = 8
    num_threads: int | None = None
    budget_seconds: float | None = None
    cache: Path | None = None
    device: DeviceKind = "cpu"
    precision: Precision = "fp32"
    kernels: tuple[str, ...] = ("onednn", "winograd", "direct", "fused")
    halide_seconds: float = 4.0
    halide_limit: float = 180.0

    def __post_init__(self) -> None:
        if unknown := [name for name in self.kernels if name not in KERNELS]:
            raise ValueError(f"kernels has {unknown[0]!r}, accepted are {', '.join(KERNELS)}")
        if "onednn" not in self.kernels:
            raise ValueError(f"kernels must have onednn, is {' '.join(self.kernels)}")


@dataclass(frozen=True, eq=False, kw_only=True)
class _Problem:
    """A block, and what the search over it starts from.

    Attributes:
        block: its operators.
        space: its stages.
        bounds: of their costs, float64 `[E]` [s].
        exact: which bounds are the costs, bool `[E]`.
        mergeable: stages that can be merged, as bit masks.
    """

    block: Block
    space: StageSpace
    bounds: np.ndarray
    exact: np.ndarray
    mergeable: set[int]


class Planner:
    """Finds the schedule of one variant.

    Args:
        costs: of stages.
        settings: of the search.
        variant: of `VARIANTS`.
        stopped: whether the best schedule known so far is wanted now.
    """

    def __init__(
        self, costs: StageCosts, settings: Settings, variant: str, stopped: Stopped
    ) -> None:
        self._costs, self._settings, self._variant = costs, settings, variant
        self._graph = costs.graph
        self._stopped = stopped
        self._kernels = costs.kernels(variant)
        _, self._full = costs.choose(costs.num_workers, self._kernels)
        _, self._single = costs.choose(1, self._kernels)

    def plan(self, context: Mapping[str, str]) -> tuple[Schedule, float]:
        """The schedule, and its expected latency [ms]."""
        blocks = blocks_of(self._graph)
        if self._variant in ("sequential", "greedy"):
            stages = [stage for block in blocks for stage in self._baseline(block)]
            return self._record(context, stages, False), 1e3 * float(self._full.sum())
        problems = [self._problem(block) for block in blocks]
        candidates = [int((~problem.exact).sum()) for problem in problems]
        forecast = Forecast(candidates, [self._guess(problem.block) for problem in problems])
        self._costs.say(
            f"{self._variant}: some of {sum(candidates):,} stages in {len(blocks)} blocks are to be"
            f" measured; this may take {duration(forecast.left())}, and less if some are known"
        )
        stages, seconds, complete = [], 0.0, True
        for number, problem in enumerate(problems):
            own, optimum = self._search(problem, number, forecast)
            stages += own
            seconds += optimum.cost
            complete &= optimum.complete
            forecast.finished(number)
            self._tell(number, forecast)
        return self._record(context, stages, not complete), 1e3 * seconds

    def _tell(self, block: int, forecast: Forecast) -> None:
        self._costs.say(
            f"{self._variant}: block {block + 1} of {len(blocks_of(self._graph))},"
            f" {duration(forecast.left())} left"
        )

    def _record(
        self, context: Mapping[str, str], stages: Sequence[PlacedStage], stopped_early: bool
    ) -> Schedule:
        return schedule_record(
            self._graph,
            context,
            tuple(
                tuple(
                    tuple(self._graph.operators[i].name for i in group.operators)
                    for group in stage.groups
                )
                for stage in stages
            ),
            strategies=tuple("merge" if stage.merged else "concurrent" for stage in stages),
            workers=tuple(
                tuple((group.workers.start, len(group.workers)) for group in stage.groups)
                for stage in stages
            ),
            kernels={
                self._graph.operators[operator].name: variant
                for stage in stages
                for operator, variant in stage.variants.items()
            },
            precision=self._settings.precision,
            stopped_early=stopped_early,
        )

    def _baseline(self, block: Block) -> list[PlacedStage]:
        chosen = greedy if self._variant == "greedy" else sequential
        masks = chosen(within(self._graph, block))
        return [self._costs.usual(self._groups(block, mask), self._kernels) for mask in masks]

    def _problem(self, block: Block) -> _Problem:
        predecessors = within(self._graph, block)
        space = stage_space(
            predecessors,
            endings=self._settings.endings,
            max_group_size=self._settings.max_group_size,
            max_groups=self._settings.max_groups,
        )
        own = list(block)
        bounds, exact = stage_bounds(
            np.asarray(space.stages),
            predecessors,
            self._full[own],
            self._single[own],
            self._costs.num_workers,
        )
        merged = mergeable_stages([self._costs.merge_class(i) for i in own], space.stages)
        if self._variant == "ios_merge":
            # What cannot be merged has its operators one after another.
            alone = one_after_another(space.stages, self._full[own])
            bounds, exact = np.where(merged, bounds, alone), exact | ~merged
        return _Problem(
            block=block,
            space=space,
            bounds=bounds,
            exact=exact,
            mergeable=set(space.stages[merged].tolist()),
        )

    def _guess(self, block: Block) -> float:
        """What measuring a stage may take: half of its block, in some ways, in each round [s]."""
        return MAX_SPLITS * (self._costs.rounds + 1) * float(self._full[list(block)].sum()) / 2

    def _search(
        self, problem: _Problem, number: int, forecast: Forecast
    ) -> tuple[list[PlacedStage], Optimum]:
        block = problem.block
        best: dict[int, PlacedStage] = {}
        told = time.monotonic()

        def cost(mask: int) -> float:
            nonlocal told
            groups = self._groups(block, mask)
            operators = [i for group in groups for i in group]
            alone = self._costs.seconds_of(operators, self._kernels)
            strategies = self._strategies(mask in problem.mergeable)
            ways = self._costs.placements(groups, strategies, self._kernels)
            begin, known = time.monotonic(), self._costs.cache.num_measured
            seconds = self._costs.stage_seconds(ways, self._kernels, block) if ways else []
            if self._costs.cache.num_measured > known:
                forecast.measured(number, 1, time.monotonic() - begin)
            if time.monotonic() > told + TELL_SECONDS:
                self._tell(number, forecast)
                told = time.monotonic()
            if not ways or min(seconds) > (1 - NOISE) * alone:
                return alone * (1 + 1e-9)
            best[mask] = ways[int(np.argmin(seconds))]
            return min(seconds)

        optimum = search(
            problem.space,
            problem.bounds,
            lambda masks: [cost(mask) for mask in masks],
            self._stopped,
            problem.exact,
        )
        stages = []
        for mask in optimum.stages:
            groups = self._groups(block, mask)
            if mask in best:
                stages.append(best[mask])
            elif len(groups) == 1:
                stages.append(self._costs.usual(groups, self._kernels))
            else:
                operators = sorted(i for group in groups for i in group)
                stages += self._costs.one_by_one(operators, self._kernels)
        return stages, optimum

    def _groups(self, block: Block, mask: int) -> list[list[int]]:
        (stage,) = stages_of(self._graph, block, [mask])
        return [[self._graph.index[name] for name in group] for group in stage]

    def _strategies(self, mergeable: bool) -> list[str]:
        """What a stage of several groups may be."""
        strategies = [] if self._variant == "ios_merge" else ["concurrent"]
        if self._variant != "ios_parallel" and mergeable:
            strategies.append("merge")
        return strategies


def by_block(graph: Graph) -> list[tuple[int, int]]:
    """Operators of a block may run at the same time, so that any stages of it can be tried."""
    moments = [(0, 0)] * len(graph.operators)
    for number, block in enumerate(blocks_of(graph)):
        for operator in block:
            moments[operator] = (number, number)
    return moments


def schedule_record(
    graph: Graph, context: Mapping[str, str], stages: tuple[Any, ...], **more: Any
) -> Schedule:
    """A schedule with what it was found for."""
    libraries = ("torch", "onednn", "cuda", "cudnn")
    versions = {name: context[name] for name in libraries if name in context}
    return Schedule(
        graph=digest(graph),
        device=context["device"],
        batch_size=int(graph.examples[0].shape[0]) if graph.examples else 0,
        versions=versions,
        stages=stages,
        **more,
    )
