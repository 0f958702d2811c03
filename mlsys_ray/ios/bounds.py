"""Costs of stages that need no measurement, and lower bounds of those that do."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
from numba import njit

NOISE = 0.04
"""Stages of several groups are kept for a larger gain than this only: that much is noise."""


def stage_bounds(
    stages: np.ndarray,
    predecessors: Sequence[Sequence[int]],
    full: np.ndarray,
    single: np.ndarray,
    num_workers: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Lower bounds of stages' costs, and which of them are the costs.

    A stage of one group costs what its operators do one after another on all workers. One of
    several groups takes at least as long as its longest group has on all workers, and as all its
    work has, evenly spread. Where that is no gain beyond `NOISE`, the stage is taken to cost as
    much as its operators one after another, so that it is never preferred to them.

    Args:
        stages: bit masks of operators, uint64 `[E]`.
        predecessors: of each operator.
        full: latency of each operator on all workers, float64 `[n]` [s].
        single: on one worker, float64 `[n]` [s].
        num_workers: how many there are.

    Returns:
        Bounds, float64 `[E]` [s], and whether each is exact, bool `[E]`.
    """
    sequential = one_after_another(stages, full)
    work = one_after_another(stages, np.minimum(single, num_workers * full))
    longest = _longest_groups(stages.astype(np.uint64), _neighbours(predecessors), full)
    bounds = np.maximum(longest, work / num_workers)
    hopeless = bounds > (1 - NOISE) * sequential
    return np.where(hopeless, sequential, bounds), hopeless


def one_after_another(stages: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """The sum of the latencies of each stage's operators, float64 `[E]` [s].

    Args:
        stages: bit masks of operators, uint64 `[E]`.
        seconds: latency of each operator, float64 `[n]` [s].
    """
    sums = np.zeros(len(stages))
    for operator, value in enumerate(seconds):
        sums += value * (stages >> np.uint64(operator) & np.uint64(1))
    return sums


def share_out(work: Sequence[float], num_workers: int) -> list[range]:
    """Workers of each group: more for more work, or several groups one after another on one.

    Args:
        work: of each group.
        num_workers: how many there are.
    """
    if len(work) > num_workers:
        loads = [0.0] * num_workers
        shares = [range(0)] * len(work)
        for group in sorted(range(len(work)), key=lambda g: -work[g]):
            worker = loads.index(min(loads))
            loads[worker] += work[group]
            shares[group] = range(worker, worker + 1)
        return shares
    widths = [1] * len(work)
    for _ in range(num_workers - len(work)):
        slowest = max(range(len(work)), key=lambda g: work[g] / widths[g])
        widths[slowest] += 1
    return _side_by_side(widths)


def splits(seconds: np.ndarray, most: int) -> list[list[range]]:
    """Promising ways to give workers to the groups of a stage, the best by their latencies first.

    The widths in which the slowest group is fastest, and those that differ from them by a worker or
    are even; last, all groups on all workers, so that who waits in one group works in another.
    Where there are more groups than workers, some of a worker's groups take turns.

    Args:
        seconds: latency of each group on 1 to W workers, float64 `[G, W]` [s].
        most: ways, at least two.
    """
    num_groups, num_workers = seconds.shape
    if num_groups > num_workers:
        ways = [share_out(seconds[:, 0].tolist(), num_workers)]
    else:
        ways = [_side_by_side(widths) for widths in _widths(seconds)[: most - 1]]
    together = [range(num_workers)] * num_groups
    return ways if together in ways else [*ways, together]


def _widths(seconds: np.ndarray) -> list[tuple[int, ...]]:
    """Widths whose sum is the number of workers, those with the fastest slowest group first."""
    num_groups, num_workers = seconds.shape
    best = [1] * num_groups
    for _ in range(num_workers - num_groups):
        best[max(range(num_groups), key=lambda g: seconds[g, best[g] - 1])] += 1
    candidates = [tuple(best)]
    if num_workers % num_groups == 0:
        candidates.append((num_workers // num_groups,) * num_groups)
    for giver, taker in permutations(range(num_groups), 2):
        if best[giver] > 1:
            moved = list(best)
            moved[giver] -= 1
            moved[taker] += 1
            candidates.append(tuple(moved))
    # The sort is stable: of widths with the same slowest group the first ones are tried.
    return sorted(
        dict.fromkeys(candidates),
        key=lambda widths: max(seconds[g, width - 1] for g, width in enumerate(widths)),
    )


def _side_by_side(widths: Sequence[int]) -> list[range]:
    begins = np.cumsum([0, *widths]).tolist()
    return [range(begin, begin + width) for begin, width in zip(begins, widths, strict=False)]


def _neighbours(predecessors: Sequence[Sequence[int]]) -> np.ndarray:
    neighbours = np.zeros(len(predecessors), dtype=np.uint64)
    for operator, sources in enumerate(predecessors):
        for source in sources:
            neighbours[operator] |= np.uint64(1 << source)
            neighbours[source] |= np.uint64(1 << operator)
    return neighbours


@njit(cache=True)
def _longest_groups(masks, neighbours, seconds):  # type: ignore[no-untyped-def] # compiled
    one = np.uint64(1)
    result = np.zeros(len(masks))
    for index, mask in enumerate(masks):
        left = mask
        while left:
            group = left & (~left + one)
            grown = True
            while grown:
                grown = False
                for operator in range(len(seconds)):
                    bit = one << np.uint64(operator)
                    if left & bit and not group & bit and neighbours[operator] & group:
                        group |= bit
                        grown = True
            total = 0.0
            for operator in range(len(seconds)):
                if group & (one << np.uint64(operator)):
                    total += seconds[operator]
            result[index] = max(result[index], total)
            left &= ~group
    return result
