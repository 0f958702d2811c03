"""Latencies of operators and stages, measured inside replays of the network.

A lone operator in a loop finds its data in the caches and looks 6 to 40% faster than it is in the
network. So all operators are timed in replays of the whole network, and stages behind the operators
that they need. Alternatives take turns, and of several rounds the least counts.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from mlsys_ray.ios.cost_cache import CostCache
from mlsys_ray.ios.engines.onednn.network import Network, Replay
from mlsys_ray.ios.engines.stages import Placed, PlacedStage
from mlsys_ray.ios.forecast import duration
from mlsys_ray.ios.stage_costs import ROUNDS, Choice, Say, StageCosts, Stopped

DEFAULT = "onednn"
LEAST_GAIN = 0.01
"""Of a kernel over oneDNN's. Many small gains add up, and a wrong choice costs as little."""


class Costs(StageCosts):
    """Measures what the search asks for, see `StageCosts`.

    Args:
        network: that is replayed.
        cache: of what was measured before.
        say: told what is measured.
        stopped: whether no more is to be measured than what cannot be done without.
        rounds: of which the least latency counts.
        mixed: kernels that `ios_mixed` may choose from.
    """

    def __init__(
        self,
        network: Network,
        cache: CostCache,
        say: Say = lambda _: None,
        stopped: Stopped = lambda: False,
        rounds: int = ROUNDS,
        mixed: Sequence[str] = ("onednn", "winograd", "direct", "fused"),
    ) -> None:
        super().__init__(network.graph, network.pool.num_workers, cache, say, stopped, rounds)
        self.network = network
        self._mixed = " ".join(mixed)
        self._operators = range(len(network.graph.operators))
        self._chosen: dict[tuple[int, str], tuple[Choice, np.ndarray]] = {}
        network.give(network.graph.examples)
        network.prologue().run()

    def kernels(self, variant: str) -> str:
        """See `StageCosts.kernels`."""
        return self._mixed if variant == "ios_mixed" else DEFAULT

    def merge_class(self, operator: int) -> tuple[Any, ...] | None:
        """See `StageCosts.merge_class`."""
        return self.network.merge_class(operator)

    def widths(self) -> list[int]:
        """Numbers of workers that operators are measured at: powers of two, and all."""
        powers = [1 << i for i in range(self.num_workers.bit_length())]
        return sorted({*(p for p in powers if p < self.num_workers), self.num_workers})

    def choose(self, width: int, kernels: str) -> tuple[Choice, np.ndarray]:
        """The fastest variant of each operator, and its latency, float64 `[n]` [s].

        oneDNN's own stays unless another is faster by more than noise.

        Args:
            width: workers that share an operator, one of `widths`.
            kernels: names of those that may be taken, separated by blanks.
        """
        key = (width, kernels)
        if key not in self._chosen:
            self._chosen[key] = self._choose(width, kernels.split())
        return self._chosen[key]

    def _choose(self, width: int, kernels: Collection[str]) -> tuple[Choice, np.ndarray]:
        seconds = self.latencies(width)
        choice: Choice = {}
        for operator in self._operators:
            options = {
                variant: seconds[variant][operator]
                for variant in self.network.variants(operator)
                if variant == "pytorch" or variant.partition("/")[0] in kernels
            }
            usual = [v for v in options if v.partition("/")[0] in (DEFAULT, "pytorch")]
            best, base = min(options, key=options.__getitem__), min(usual, key=options.__getitem__)
            choice[operator] = best if options[best] < (1 - LEAST_GAIN) * options[base] else base
        return choice, np.array([seconds[choice[i]][i] for i in self._operators])

    def _measure(
        self,
        first: Sequence[PlacedStage],
        alternatives: Mapping[str, Sequence[PlacedStage]],
    ) -> dict[str, float]:
        before = [operator for stage in first for operator in stage.operators]
        replays = {
            name: self.network.assemble([*first, *stages]) for name, stages in alternatives.items()
        }
        operators = next(iter(alternatives.values()))
        timed = [operator for stage in operators for operator in stage.operators]
        taken: dict[str, list[float]] = {name: [] for name in replays}
        for number in range(self.rounds + 1):
            for name, replay in replays.items():
                replay.run()
                if number:
                    taken[name].append(_since(replay, before, timed))
        for replay in replays.values():
            replay.close()
        return {name: min(seconds) for name, seconds in taken.items()}

    def latencies(self, width: int) -> Mapping[str, np.ndarray]:
        """Of each variant the latency of the operators that have it, infinite for others [s]."""
        variants = sorted({v for i in self._operators for v in self.network.variants(i)})
        missing = [
            variant
            for variant in variants
            if any(
                variant in self.network.variants(i)
                and self._key(width, variant, i) not in self.cache
                for i in self._operators
            )
        ]
        if missing:
            self._measure_operators(width, missing)
        return {
            variant: np.array(
                [
                    self.cache[self._key(width, variant, i)]
                    if variant in self.network.variants(i)
                    else np.inf
                    for i in self._operators
                ]
            )
            for variant in variants
        }

    def _measure_operators(self, width: int, variants: Sequence[str]) -> None:
        self.say(f"measuring {len(variants)} kinds of kernels on {width} threads")
        workers = range(width)
        replays = {}
        for wanted in variants:
            stages = []
            for operator in self._operators:
                own = self.network.variants(operator)
                variant = wanted if wanted in own else own[-1]
                stages.append(
                    PlacedStage(
                        groups=(Placed(operators=(operator,), workers=workers),),
                        variants={operator: variant},
                    )
                )
            replays[wanted] = self.network.assemble(stages)
        least = {variant: np.full(len(self._operators), np.inf) for variant in variants}
        number = 0
        # A round is the least that any schedule needs.
        while number <= self.rounds and not (number > 1 and self.stopped()):
            begin = time.monotonic()
            for variant, replay in replays.items():
                replay.run()
                if number:
                    least[variant] = np.minimum(least[variant], self._seconds(replay))
            if number == 1:
                left = (self.rounds - 1) * (time.monotonic() - begin)
                self.say(f"{duration(left)} left for these kernels")
            number += 1
        for replay in replays.values():
            replay.close()
        self.cache.add(
            {
                self._key(width, variant, operator): float(least[variant][operator])
                for variant in variants
                for operator in self._operators
                if variant in self.network.variants(operator)
            },
            final=number > self.rounds,
        )

    def _seconds(self, replay: Replay) -> np.ndarray:
        """Of each operator, float64 `[n]` [s]."""
        seconds = np.zeros(len(self._operators))
        for operator, (begin, end) in replay.times().items():
            seconds[operator] = end - begin
        return seconds

    def _key(self, width: int, variant: str, operator: int) -> str:
        edition = self.network.edition(operator, variant)
        return (
            f"operator {width} {variant}{edition and f' {edition}'}"
            f" {self.network.graph.operators[operator].name}"
        )


def _since(replay: Replay, first: Sequence[int], operators: Sequence[int]) -> float:
    """From the end of what comes first to that of the last of some operators [s]."""
    times = replay.times()
    ends = [times[i][1] for i in operators if i in times]
    if not ends:
        return 0.0
    begins = [times[i][0] for i in operators if i in times]
    before = [times[i][1] for i in first if i in times]
    return max(ends) - (max(before) if before else min(begins))
