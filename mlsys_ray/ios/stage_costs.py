"""What stages take: asked by the search, measured by an engine on its device, each thing once.

The latency of a stage is that of its operators one after another, times the ratio that both have
side by side, in turns, behind all that the stage needs of its block. So the costs of a schedule add
up to the network's latency, and a machine's drift meets both alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from mlsys_ray.ios.bounds import splits
from mlsys_ray.ios.cost_cache import CostCache
from mlsys_ray.ios.engines.stages import Placed, PlacedStage
from mlsys_ray.ios.graph import Graph, ancestors

ROUNDS = 9
MAX_SPLITS = 3
"""Of its workers over a stage's groups that are measured, the most promising ones."""

Choice = dict[int, str]
Say = Callable[[str], None]
Stopped = Callable[[], bool]


class StageCosts(ABC):
    """Measures what the search asks for.

    Args:
        graph: whose stages are measured.
        num_workers: that groups are given to: threads, or streams.
        cache: of what was measured before.
        say: told what is measured.
        stopped: whether no more is to be measured than what cannot be done without.
        rounds: of which the least latency counts.
    """

    def __init__(
        self,
        graph: Graph,
        num_workers: int,
        cache: CostCache,
        say: Say = lambda _: None,
        stopped: Stopped = lambda: False,
        rounds: int = ROUNDS,
    ) -> None:
        self.graph, self.num_workers = graph, num_workers
        self.say, self.stopped = say, stopped
        self.cache, self.rounds = cache, rounds
        self._before = ancestors(graph.predecessors)

    @abstractmethod
    def kernels(self, variant: str) -> str:
        """Names of the kernels that a variant may take, separated by blanks."""

    @abstractmethod
    def widths(self) -> list[int]:
        """Numbers of workers that operators are measured at."""

    @abstractmethod
    def choose(self, width: int, kernels: str) -> tuple[Choice, np.ndarray]:
        """The fastest variant of each operator, and its latency, float64 `[n]` [s].

        Args:
            width: workers that share an operator, one of `widths`.
            kernels: names of those that may be taken, separated by blanks.
        """

    @abstractmethod
    def merge_class(self, operator: int) -> tuple[Any, ...] | None:
        """What operators must have in common to be merged; None for those that never are."""

    @abstractmethod
    def _measure(
        self,
        first: Sequence[PlacedStage],
        alternatives: Mapping[str, Sequence[PlacedStage]],
    ) -> dict[str, float]:
        """The least latency of alternatives in turns, each behind the same first stages [s]."""

    @property
    def _all(self) -> range:
        """The workers of a single group."""
        return range(self.num_workers)

    def seconds_of(self, operators: Sequence[int], kernels: str) -> float:
        """What operators take one after another, all workers sharing each [s]."""
        _, full = self.choose(self.num_workers, kernels)
        return float(full[list(operators)].sum())

    def placements(
        self, groups: Sequence[Sequence[int]], strategies: Collection[str], kernels: str
    ) -> list[PlacedStage]:
        """The ways to run a stage of several groups that are worth measuring.

        Args:
            groups: of operators.
            strategies: `concurrent`, by each promising split of the workers, and `merge`.
            kernels: names of those that may be taken, separated by blanks.
        """
        ways = []
        if "concurrent" in strategies:
            ways += [
                self.stage(groups, shares, kernels) for shares in self._splits(groups, kernels)
            ]
        if "merge" in strategies:
            shares = [self._all] * len(groups)
            ways.append(self.stage(groups, shares, kernels, merged=True))
        return ways

    def _splits(self, groups: Sequence[Sequence[int]], kernels: str) -> list[list[range]]:
        """Workers of each group in the most promising ways, the best first."""
        work = np.array(
            [
                [self.choose(width, kernels)[1][list(group)].sum() for width in self.widths()]
                for group in groups
            ]
        )
        at = [self._width(count) for count in range(1, self.num_workers + 1)]
        columns = [self.widths().index(width) for width in at]
        return splits(work[:, columns], MAX_SPLITS)

    def _width(self, count: int) -> int:
        """The largest width measured that so many workers have."""
        return max(width for width in self.widths() if width <= count)

    def usual(self, groups: Sequence[Sequence[int]], kernels: str) -> PlacedStage:
        """A stage whose groups run side by side, by the most promising split of the workers."""
        return self.stage(groups, self._splits(groups, kernels)[0], kernels)

    def stage(
        self,
        groups: Sequence[Sequence[int]],
        shares: Sequence[range],
        kernels: str,
        merged: bool = False,
    ) -> PlacedStage:
        """A stage with its workers and variants."""
        variants: Choice = {}
        for group, share in zip(groups, shares, strict=True):
            choice, _ = self.choose(self._width(len(share)), kernels)
            variants |= {operator: choice[operator] for operator in group}
        placed = tuple(
            Placed(operators=tuple(group), workers=share)
            for group, share in zip(groups, shares, strict=True)
        )
        return PlacedStage(groups=placed, variants=variants, merged=merged)

    def one_by_one(self, operators: Sequence[int], kernels: str) -> list[PlacedStage]:
        """Each operator a stage of its own, of all workers."""
        return [self.stage([[i]], [self._all], kernels) for i in operators]

    def stage_seconds(
        self, ways: Sequence[PlacedStage], kernels: str, within: Collection[int]
    ) -> list[float]:
        """The latency of a stage by each of some ways to run it [s].

        Args:
            ways: of the same operators.
            kernels: names of those that may be taken, separated by blanks.
            within: operators of the block.
        """
        keys = [self._stage_key(way, kernels) for way in ways]
        missing = {key: way for key, way in zip(keys, ways, strict=True) if key not in self.cache}
        if missing:
            operators = sorted(ways[0].operators)
            needed = 0
            for operator in operators:
                needed |= self._before[operator]
            first = [i for i in sorted(within) if needed >> i & 1 and i not in operators]
            alternatives: dict[str, Sequence[PlacedStage]] = {
                "alone": self.one_by_one(operators, kernels),
                **{key: [way] for key, way in missing.items()},
            }
            taken = self._measure(self.one_by_one(first, kernels), alternatives)
            scale = self.seconds_of(operators, kernels) / max(taken["alone"], 1e-9)
            self.cache.add({key: scale * taken[key] for key in missing})
        return [self.cache[key] for key in keys]

    def _stage_key(self, way: PlacedStage, kernels: str) -> str:
        groups = "|".join(
            ",".join(self.graph.operators[i].name for i in group.operators)
            + ("" if way.merged else f" on {group.workers.start}+{len(group.workers)}")
            for group in way.groups
        )
        return f"stage {'merge' if way.merged else 'concurrent'} {kernels} {groups}"
