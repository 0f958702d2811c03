"""Placement of a whole trace with everything known, by coordinate descent.

One VM after another is taken out and put where the sum over its ticks and resources of
exp(K (u / mean - 1)), each tick weighted by one over the sum of that over the PMs, grows least:
the gradient of a log-sum-exp that tends to the PAR as K grows. K is annealed. It is this project's
own design; the method of the paper is not published.

PMs admit every VM here, so the outcome is optimistic where requests fill a PM.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlsys_ray.fireplace.compiled import compiled
from mlsys_ray.fireplace.metrics import score
from mlsys_ray.fireplace.simulator import NOT_PLACED
from mlsys_ray.fireplace.trace import Trace, TraceArrays

GREEDY_STEEPNESS = 12.0
STEEPNESS = (4.0, 8.0, 16.0, 24.0, 32.0, 48.0)
SWEEPS = 2
LARGEST_EXPONENT = 50.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Hindsight:
    """A placement found with everything known.

    Attributes:
        placement: int64 `[N]`.
        load: float64 `[T, P, D]`, use as a part of the PM's capacity.
        par: its score, see `metrics.Score.par`.
        greedy_par: that of the first placement, in which each arriving VM was put where the true
            future of those present and its own made it best.
    """

    placement: np.ndarray
    load: np.ndarray
    par: float
    greedy_par: float


def hindsight_search(trace: Trace, capacity: np.ndarray) -> Hindsight:
    """Search for the placement of the least PAR.

    Args:
        trace: N VMs.
        capacity: float64 `[P, D]`, in the trace's units.

    Returns:
        The best placement seen, by PAR; never worse than the greedy one.
    """
    capacity = np.ascontiguousarray(capacity, dtype=np.float64)
    mean = mean_load(trace, capacity)
    placement = np.full(trace.num_vms, NOT_PLACED)
    kind_capacity, kind = np.unique(capacity, axis=0, return_inverse=True)
    machines = (kind_capacity, kind.reshape(-1).astype(np.int64))
    empty = np.zeros((trace.num_ticks, len(capacity[0]), len(capacity)))
    _descend(trace.arrays, placement, empty, mean, *machines, GREEDY_STEEPNESS)
    best = placement.copy()
    greedy_par = best_par = score(loads(trace, placement, capacity)).par
    for steepness in STEEPNESS:
        for _ in range(SWEEPS):
            load = loads(trace, placement, capacity).transpose(0, 2, 1).copy()
            _descend(trace.arrays, placement, load, mean, *machines, steepness)
        par = score(loads(trace, placement, capacity)).par
        if par < best_par:
            best, best_par = placement.copy(), par
    return Hindsight(
        placement=best,
        load=loads(trace, best, capacity),
        par=best_par,
        greedy_par=greedy_par,
    )


def loads(trace: Trace, placement: np.ndarray, capacity: np.ndarray) -> np.ndarray:
    """Use of each PM in each tick under a placement, as a part of its capacity.

    Args:
        trace: N VMs.
        placement: int64 `[N]`; -1 for VMs that are nowhere.
        capacity: float64 `[P, D]`.

    Returns:
        float64 `[T, P, D]`.
    """
    load = np.zeros((trace.num_ticks, *capacity.shape))
    lengths = np.diff(trace.use_offset)
    tick = np.repeat(trace.first_tick - trace.use_offset[:-1], lengths) + np.arange(len(trace.use))
    pm = np.repeat(placement, lengths)
    counted = (tick < trace.num_ticks) & (pm >= 0)
    np.add.at(load, (tick[counted], pm[counted]), trace.use[counted])
    return load / capacity


def mean_load(trace: Trace, capacity: np.ndarray) -> np.ndarray:
    """Mean load of the PMs in each tick if their capacities are equal, float64 `[T, D]`."""
    everywhere = loads(
        trace, np.zeros(trace.num_vms, dtype=np.int64), np.ones((1, len(capacity[0])))
    )
    return everywhere[:, 0] / capacity.sum(axis=0)


@compiled(nogil=True)
def _descend(
    trace: TraceArrays,
    placement: np.ndarray,
    load: np.ndarray,
    mean: np.ndarray,
    kind_capacity: np.ndarray,
    kind: np.ndarray,
    steepness: float,
) -> None:
    """Move each VM in turn to its best PM, or place it if it is nowhere; `load` is `[T, D, P]`."""
    ticks, resources, pms = load.shape
    value = np.empty_like(load)
    total = np.zeros((ticks, resources))
    for t in range(ticks):
        for d in range(resources):
            scale = max(mean[t, d], 1e-12)
            for p in range(pms):
                exponent = steepness * (load[t, d, p] / scale - 1.0)
                value[t, d, p] = np.exp(min(exponent, LARGEST_EXPONENT))
                total[t, d] += value[t, d, p]
    growth = np.empty(len(kind_capacity))
    costs = np.empty(pms)
    for vm in range(len(placement)):
        old = placement[vm]
        first, start = trace.first_tick[vm], trace.use_offset[vm]
        length = min(trace.use_offset[vm + 1] - start, ticks - first)
        costs[:] = 0.0
        for position in range(length):
            t = first + position
            for d in range(resources):
                relative = trace.use[start + position, d] / max(mean[t, d], 1e-12)
                for k in range(len(growth)):
                    growth[k] = _growth(steepness * relative / kind_capacity[k, d])
                if old >= 0:
                    _multiply(value[t, d], total[t], d, old, 1.0 / growth[kind[old]])
                if len(growth) == 1:
                    _add_costs(costs, value[t, d], (growth[0] - 1.0) / total[t, d])
                    continue
                for p in range(pms):
                    costs[p] += value[t, d, p] * (growth[kind[p]] - 1.0) / total[t, d]
        new = int(np.argmin(costs))
        placement[vm] = new
        for position in range(length):
            t = first + position
            for d in range(resources):
                relative = trace.use[start + position, d] / max(mean[t, d], 1e-12)
                factor = _growth(steepness * relative / kind_capacity[kind[new], d])
                _multiply(value[t, d], total[t], d, new, factor)


@compiled()
def _growth(exponent: float) -> float:
    return np.exp(min(exponent, LARGEST_EXPONENT))


@compiled()
def _multiply(value: np.ndarray, total: np.ndarray, d: int, pm: int, factor: float) -> None:
    """Multiply a PM's value; the sum is taken anew where the difference would cancel it out."""
    change = value[pm] * (factor - 1.0)
    value[pm] *= factor
    total[d] += change
    if total[d] < -1e-3 * change:
        total[d] = value.sum()


@compiled(fastmath=True)
def _add_costs(costs: np.ndarray, value: np.ndarray, weight: float) -> None:
    for p in range(len(costs)):
        costs[p] += value[p] * weight
