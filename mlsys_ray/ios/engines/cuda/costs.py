"""Latencies of operators and stages on a GPU, by events inside replays of CUDA graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from mlsys_ray.ios.agreement import TOLERANCES
from mlsys_ray.ios.blocks import blocks_of
from mlsys_ray.ios.bounds import NOISE, share_out
from mlsys_ray.ios.cost_cache import CostCache
from mlsys_ray.ios.devices import arithmetic
from mlsys_ray.ios.engines.cuda import kernels
from mlsys_ray.ios.engines.cuda.kernels import FUSED, PLAIN
from mlsys_ray.ios.engines.cuda.network import Network, Replay
from mlsys_ray.ios.engines.stages import Placed, PlacedStage
from mlsys_ray.ios.merge import merge_class
from mlsys_ray.ios.stage_costs import ROUNDS, Choice, Say, StageCosts, Stopped


class Costs(StageCosts):
    """Measures what the search asks for, see `StageCosts`; workers are streams.

    An operator always has all of the GPU that it can use, so there is one width, and a group of its
    own stream is no choice.

    Args:
        network: with as many streams as a stage may have groups.
        cache: of what was measured before.
        say: told what is measured.
        stopped: whether no more is to be measured than what cannot be done without.
        rounds: of which the least latency counts.
    """

    def __init__(
        self,
        network: Network,
        cache: CostCache,
        say: Say = lambda _: None,
        stopped: Stopped = lambda: False,
        rounds: int = ROUNDS,
    ) -> None:
        super().__init__(network.graph, len(network.streams), cache, say, stopped, rounds)
        self.network = network
        self._values, self._fused = self._prepared()
        self._chosen: dict[str, tuple[Choice, np.ndarray]] = {}

    def kernels(self, variant: str) -> str:
        """See `StageCosts.kernels`."""
        return f"{PLAIN} {FUSED}" if variant == "ios_mixed" else PLAIN

    def widths(self) -> list[int]:
        """See `StageCosts.widths`."""
        return [1]

    def choose(self, width: int, kernels: str) -> tuple[Choice, np.ndarray]:
        """See `StageCosts.choose`; any width is the same."""
        if kernels not in self._chosen:
            self._chosen[kernels] = self._choose(kernels.split())
        return self._chosen[kernels]

    def merge_class(self, operator: int) -> tuple[Any, ...] | None:
        """See `StageCosts.merge_class`."""
        return merge_class(self.graph.operators[operator])

    @property
    def _all(self) -> range:
        return range(1)

    def _splits(self, groups: Sequence[Sequence[int]], kernels: str) -> list[list[range]]:
        work = [self.seconds_of(group, kernels) for group in groups]
        return [share_out(work, min(len(groups), self.num_workers))]

    def _choose(self, names: Sequence[str]) -> tuple[Choice, np.ndarray]:
        seconds = self._operator_seconds()
        plain = seconds[PLAIN]
        choice = dict.fromkeys(range(len(plain)), PLAIN)
        taken = plain.copy()
        if FUSED in names:
            for operator in self._fused:
                if seconds[FUSED][operator] < (1 - NOISE) * plain[operator]:
                    choice[operator] = FUSED
                    taken[operator] = seconds[FUSED][operator]
        return choice, taken

    def _operator_seconds(self) -> dict[str, np.ndarray]:
        """Of each kind of kernel the latency of all operators, float64 `[n]` [s]."""
        names = [operator.name for operator in self.graph.operators]
        kinds = (PLAIN, FUSED) if self._fused else (PLAIN,)
        keys = {kind: [f"operator {kind} {name}" for name in names] for kind in kinds}
        if any(key not in self.cache for kind in kinds for key in keys[kind]):
            self.say(f"measuring {len(names)} operators by {', '.join(kinds)}")
            measured = self._measure_operators(kinds)
            for kind in kinds:
                self.cache.add(dict(zip(keys[kind], measured[kind].tolist(), strict=True)))
        return {kind: np.array([self.cache[key] for key in keys[kind]]) for kind in kinds}

    def _measure_operators(self, kinds: Sequence[str]) -> dict[str, np.ndarray]:
        """By marks between operators, scaled to what the network takes without them."""
        marked: dict[str, Replay] = {}
        whole: dict[str, Replay] = {}
        number = len(self.graph.operators)
        for kind in kinds:
            stages = [
                self._alone(i, kind if kind == PLAIN or i in self._fused else PLAIN)
                for i in range(number)
            ]
            marked[kind] = self._replay(stages, range(number + 1))
            whole[kind] = self._replay(stages, (0, number))
        least = {kind: np.full(number, np.inf) for kind in kinds}
        total = dict.fromkeys(kinds, np.inf)
        for turn in range(self.rounds + 1):
            for kind in kinds:
                times, ends = self._timed(marked[kind]), self._timed(whole[kind])
                if turn:
                    least[kind] = np.minimum(least[kind], np.diff(times))
                    total[kind] = min(total[kind], ends[-1])
        for replay in (*marked.values(), *whole.values()):
            replay.close()
        return {kind: least[kind] * (total[kind] / least[kind].sum()) for kind in kinds}

    def _measure(
        self,
        first: Sequence[PlacedStage],
        alternatives: Mapping[str, Sequence[PlacedStage]],
    ) -> dict[str, float]:
        replays = {
            name: self._replay([*first, *stages], (len(first), len(first) + len(stages)))
            for name, stages in alternatives.items()
        }
        taken: dict[str, list[float]] = {name: [] for name in replays}
        for turn in range(self.rounds + 1):
            for name, replay in replays.items():
                _, end = self._timed(replay)
                if turn:
                    taken[name].append(end)
        for replay in replays.values():
            replay.close()
        return {name: min(seconds) for name, seconds in taken.items()}

    def _alone(self, operator: int, kind: str) -> PlacedStage:
        return PlacedStage(
            groups=(Placed(operators=(operator,), workers=self._all),), variants={operator: kind}
        )

    def _replay(self, stages: Sequence[PlacedStage], marks: Sequence[int]) -> Replay:
        return self.network.replay(stages, self._values, (), marked_stages=marks)

    def _timed(self, replay: Replay) -> list[float]:
        replay.run()
        return replay.marks()

    def _prepared(self) -> tuple[dict[str, Any], set[int]]:
        """The values that pass from block to block; and operators that cuDNN computes as one."""
        number_of = {
            operator: number
            for number, block in enumerate(blocks_of(self.graph))
            for operator in block
        }
        crossing = {
            self.graph.operators[source].name
            for operator, sources in enumerate(self.graph.predecessors)
            for source in sources
            if number_of[source] != number_of[operator]
        }
        values: dict[str, Any] = dict(zip(self.graph.inputs, self.graph.examples, strict=True))
        fused = set()
        with torch.inference_mode(), arithmetic(self.network.precision):
            for number, operator in enumerate(self.graph.operators):
                kernels.run(operator, PLAIN, values)
                if self._can_be_fused(number, values):
                    fused.add(number)
        kept = crossing | set(self.graph.inputs)
        return {name: value for name, value in values.items() if name in kept}, fused

    def _can_be_fused(self, number: int, values: Mapping[str, Any]) -> bool:
        operator = self.graph.operators[number]
        if not any(kernels.fits_fused(node) for node in operator.nodes):
            return False
        own = dict(values)
        try:
            kernels.run(operator, FUSED, own)
        # A version of cuDNN may have no such kernel for these sizes.
        except RuntimeError:
            return False
        wanted = values[operator.name]
        limit = TOLERANCES[self.network.precision] * float(wanted.abs().max())
        return float((own[operator.name] - wanted).abs().max()) <= limit
