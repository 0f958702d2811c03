"""What schedules would gain on a device of W equal lanes: a simulation, on measured latencies.

Own design. An operator's latency on one lane is measured; on w lanes its output tiles are shared
out in waves, so it takes `ceil(tiles / w) / tiles` of that. A stage takes an overhead and the time
of its slowest group, lanes being given to groups one by one, each to the slowest. Small operators
on wide devices, which no operator fills alone, are where stages of several groups gain.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba import njit

from mlsys_ray.ios.blocks import blocks_of
from mlsys_ray.ios.graph import Graph, run_operator
from mlsys_ray.ios.search.baselines import greedy, sequential
from mlsys_ray.ios.search.counts import Predecessors, within
from mlsys_ray.ios.search.dynamic_programme import cheapest
from mlsys_ray.ios.search.endings import EndingKind, StageSpace, stage_space

ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Device:
    """A simulated device.

    Attributes:
        lanes: W, units that work at the same time.
        tile: elements of an output that one lane computes at a time.
        stage_overhead: time that each stage adds [s].
    """

    lanes: int
    tile: int = 4096
    stage_overhead: float = 5e-6

    def __post_init__(self) -> None:
        """Refuse what is no device."""
        if self.lanes < 1 or self.tile < 1 or self.stage_overhead < 0:
            raise ValueError(
                "a device has at least one lane, a tile of at least one element and no negative"
                f" overhead; this is {self}"
            )


def measure_operators(graph: Graph) -> np.ndarray:
    """The latency of each operator on one thread, inside the network, float64 `[n]` [s].

    The fastest of some rounds, run by PyTorch.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            rounds = [_one_round(graph) for _ in range(ROUNDS + 1)]
    finally:
        torch.set_num_threads(threads)
    return np.min(rounds[1:], axis=0)


def _one_round(graph: Graph) -> list[float]:
    values: dict[str, Any] = dict(zip(graph.inputs, graph.examples, strict=True))
    seconds = []
    for operator in graph.operators:
        begin = time.perf_counter()
        run_operator(operator, values)
        seconds.append(time.perf_counter() - begin)
    return seconds


def latencies(graph: Graph, seconds: np.ndarray, device: Device) -> np.ndarray:
    """Of each operator its simulated latency on 1 to W lanes, float64 `[n, W]` [s].

    Args:
        graph: whose outputs' sizes say how many tiles there are; unknown sizes are one tile.
        seconds: measured on one lane, float64 `[n]` [s].
        device: with W lanes.
    """
    sizes = [np.prod(operator.nodes[-1].shape or 1) for operator in graph.operators]
    tiles = np.ceil(np.array(sizes, dtype=float) / device.tile)[:, None]
    return seconds[:, None] * np.ceil(tiles / np.arange(1, device.lanes + 1)) / tiles


def simulate(
    graph: Graph,
    seconds: np.ndarray,
    device: Device,
    *,
    endings: EndingKind = "single-source",
    max_group_size: int = 3,
    max_groups: int = 8,
) -> dict[str, float]:
    """Latencies of the sequential, the greedy and the optimal parallel schedule [s]."""
    table = latencies(graph, seconds, device)
    spaces: dict[Predecessors, StageSpace] = {}
    totals = {"sequential": 0.0, "greedy": 0.0, "ios_parallel": 0.0}
    for block in blocks_of(graph):
        predecessors = within(graph, block)
        if predecessors not in spaces:
            spaces[predecessors] = stage_space(
                predecessors,
                endings=endings,
                max_group_size=max_group_size,
                max_groups=max_groups,
            )
        space = spaces[predecessors]
        own = table[list(block)]
        for name, stages in (
            ("sequential", sequential(predecessors)),
            ("greedy", greedy(predecessors)),
        ):
            totals[name] += float(stage_costs(stages, predecessors, own, device).sum())
        costs = stage_costs(space.stages, predecessors, own, device)
        totals["ios_parallel"] += cheapest(space, costs)[0]
    return totals


def stage_costs(
    stages: Sequence[int] | np.ndarray,
    predecessors: Predecessors,
    table: np.ndarray,
    device: Device,
) -> np.ndarray:
    """The simulated latency of stages, float64 `[E]` [s].

    Args:
        stages: sets of operators as bit masks.
        predecessors: of each operator.
        table: latency of each operator on 1 to W lanes, float64 `[n, W]` [s].
        device: whose overhead each stage pays.
    """
    neighbours = np.zeros(len(predecessors), dtype=np.uint64)
    for operator, sources in enumerate(predecessors):
        for source in sources:
            neighbours[operator] |= np.uint64(1 << source)
            neighbours[source] |= np.uint64(1 << operator)
    masks = np.array(stages, dtype=np.uint64)
    return _stage_latencies(masks, neighbours, table) + device.stage_overhead


@njit(cache=True)
def _stage_latencies(masks, neighbours, table):  # type: ignore[no-untyped-def] # compiled
    n, lanes = table.shape
    one = np.uint64(1)
    result = np.empty(len(masks))
    groups = np.empty((n, lanes))
    given = np.empty(n, dtype=np.int64)
    for index, mask in enumerate(masks):
        num_groups = 0
        left = mask
        while left:
            group = left & (~left + one)
            grown = True
            while grown:
                grown = False
                for operator in range(n):
                    bit = one << np.uint64(operator)
                    if left & bit and not group & bit and neighbours[operator] & group:
                        group |= bit
                        grown = True
            groups[num_groups] = 0
            for operator in range(n):
                if group & (one << np.uint64(operator)):
                    groups[num_groups] += table[operator]
            num_groups += 1
            left &= ~group
        result[index] = _slowest(groups[:num_groups], given)
    return result


@njit(cache=True)
def _slowest(groups, given):  # type: ignore[no-untyped-def] # compiled
    """The time of groups `[G, W]` on W lanes; with too few lanes they are packed on single ones."""
    num_groups, lanes = groups.shape
    if num_groups > lanes:
        loads = np.zeros(lanes)
        for group in np.argsort(-groups[:, 0]):
            loads[np.argmin(loads)] += groups[group, 0]
        return loads.max()
    given[:num_groups] = 0
    for _ in range(lanes - num_groups):
        slowest = 0
        for group in range(num_groups):
            if groups[group, given[group]] > groups[slowest, given[slowest]]:
                slowest = group
        given[slowest] += 1
    worst = 0.0
    for group in range(num_groups):
        worst = max(worst, groups[group, given[group]])
    return worst
