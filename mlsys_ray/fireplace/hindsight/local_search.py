"""Placement of a whole trace with everything known, by coordinate descent.

One VM after another is taken out and put where the sum over its ticks and resources of
exp(K (u / mean - 1)), each tick weighted by one over the sum of that over the PMs, grows least:
the gradient of a log-sum-exp that tends to the PAR as K grows. K is annealed. It is this project's
own design; the method of the paper is not published.

A VM goes only where its requests are admitted for its whole life, given where all others are. One
that is admitted nowhere is refused, and tried again in later sweeps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlsys_ray.fireplace.compiled import compiled
from mlsys_ray.fireplace.hindsight.admission import check_placement, last_arrival, room
from mlsys_ray.fireplace.metrics import score
from mlsys_ray.fireplace.simulator import NOT_PLACED
from mlsys_ray.fireplace.trace import Trace, TraceArrays

GREEDY_STEEPNESS = 12.0
STEEPNESS = (4.0, 8.0, 16.0, 24.0, 32.0, 48.0)
SWEEPS = 2
WARM_STEEPNESS = 24.0
"""Where annealing begins from a placement that is given; flatter potentials would undo it."""
LARGEST_BOOK = 2**26
"""Numbers in the book of requests; with more arrivals, some share a slot [numbers]."""
LARGEST_EXPONENT = 50.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Hindsight:
    """A placement found with everything known.

    Attributes:
        placement: int64 `[N]`, -1 for VMs that are refused.
        load: float64 `[T, P, D]`, use as a part of the PM's capacity.
        par: its score, see `metrics.Score.par`.
        first_par: that of the placement the search began with: the one given, or the greedy one, in
            which each arriving VM was put where the true future of those present and its own made
            it best.
    """

    placement: np.ndarray
    load: np.ndarray
    par: float
    first_par: float

    @property
    def refused(self) -> int:
        """How many VMs no PM admitted."""
        return int((self.placement == NOT_PLACED).sum())


def hindsight_search(
    trace: Trace,
    capacity: np.ndarray,
    *,
    overcommit: float = 1.0,
    start: np.ndarray | None = None,
) -> Hindsight:
    """Search for the placement that refuses the fewest VMs and, of such, has the least PAR.

    Args:
        trace: N VMs.
        capacity: float64 `[P, D]`, in the trace's units.
        overcommit: the part of its capacity that a PM's requests may take in all.
        start: int64 `[N]`, a placement to begin with; VMs that are nowhere are placed greedily.

    Returns:
        The best placement seen; never worse than the one the search began with.

    Raises:
        ValueError: `start` is no placement of the trace that the PMs admit.
    """
    capacity = np.ascontiguousarray(capacity, dtype=np.float64)
    placement = np.full(trace.num_vms, NOT_PLACED) if start is None else start
    placement = check_placement(trace, placement, capacity, overcommit)
    mean = mean_load(trace, capacity)
    kind_capacity, kind = np.unique(capacity, axis=0, return_inverse=True)
    machines = (kind_capacity, kind.reshape(-1).astype(np.int64), room(capacity, overcommit))
    slots = _slots(trace, capacity.size)

    def sweep(steepness: float, only_new: bool = False) -> None:
        load = loads(trace, placement, capacity).transpose(0, 2, 1).copy()
        book = _book(trace.arrays, placement, *slots, len(capacity))
        _descend(trace.arrays, placement, load, mean, *machines, book, *slots, steepness, only_new)

    def quality() -> tuple[int, float]:
        par = score(loads(trace, placement, capacity)).par
        return int((placement == NOT_PLACED).sum()), par

    sweep(GREEDY_STEEPNESS, only_new=True)
    best, best_quality = placement.copy(), quality()
    first_par = best_quality[1]
    for steepness in STEEPNESS:
        if start is not None and steepness < WARM_STEEPNESS:
            continue
        for _ in range(SWEEPS):
            sweep(steepness)
        if (found := quality()) < best_quality:
            best, best_quality = placement.copy(), found
    return Hindsight(
        placement=best,
        load=loads(trace, best, capacity),
        par=best_quality[1],
        first_par=first_par,
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


def _slots(trace: Trace, cells_of_a_slot: int) -> tuple[np.ndarray, np.ndarray]:
    """The first and last slot of each VM in the book of requests, int64 `[N]` each.

    A slot is an arrival, at which requests are largest. Where the book would be too long it is
    several consecutive ones, and what is there at any of them counts as there at all: the search is
    then a little stricter than the PMs.
    """
    arrivals = -(-trace.num_vms * cells_of_a_slot // LARGEST_BOOK)
    return np.arange(trace.num_vms) // arrivals, last_arrival(trace) // arrivals


@compiled()
def _book(
    trace: TraceArrays, placement: np.ndarray, first: np.ndarray, last: np.ndarray, num_pms: int
) -> np.ndarray:
    """Requests of each PM in each slot, float64 `[P, D, slots]`."""
    book = np.zeros((num_pms, trace.request.shape[1], first[-1] + 1))
    for vm in range(len(placement)):
        if placement[vm] >= 0:
            _enter(book, trace, vm, placement[vm], first[vm], last[vm], 1.0)
    return book


@compiled()
def _enter(
    book: np.ndarray, trace: TraceArrays, vm: int, pm: int, first: int, last: int, sign: float
) -> None:
    for d in range(book.shape[1]):
        _add(book[pm, d, first : last + 1], sign * trace.request[vm, d])


@compiled()
def _admits(
    book: np.ndarray,
    room: np.ndarray,
    trace: TraceArrays,
    vm: int,
    pm: int,
    first: int,
    last: int,
) -> bool:
    for d in range(book.shape[1]):
        if _largest(book[pm, d, first : last + 1]) + trace.request[vm, d] > room[pm, d]:
            return False
    return True


@compiled(fastmath=True)
def _add(values: np.ndarray, amount: float) -> None:
    for i in range(len(values)):
        values[i] += amount


@compiled(fastmath=True)
def _largest(values: np.ndarray) -> float:
    largest = values[0]
    for value in values:
        largest = max(largest, value)
    return largest


@compiled(nogil=True)
def _descend(
    trace: TraceArrays,
    placement: np.ndarray,
    load: np.ndarray,
    mean: np.ndarray,
    kind_capacity: np.ndarray,
    kind: np.ndarray,
    room: np.ndarray,
    book: np.ndarray,
    first_slot: np.ndarray,
    last_slot: np.ndarray,
    steepness: float,
    only_new: bool,
) -> None:
    """Move each VM in turn to its best PM, or place it if it is nowhere; `load` is `[T, D, P]`.

    With `only_new`, VMs that are somewhere stay.
    """
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
        if only_new and old >= 0:
            continue
        slots = (first_slot[vm], last_slot[vm])
        if old >= 0:
            _enter(book, trace, vm, old, slots[0], slots[1], -1.0)
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
        while not _admits(book, room, trace, vm, new, slots[0], slots[1]):
            costs[new] = np.inf
            new = int(np.argmin(costs))
            if costs[new] == np.inf:
                # Where it was before it is admitted, but for rounding.
                new = old
                break
        placement[vm] = new
        if new < 0:
            continue
        _enter(book, trace, vm, new, slots[0], slots[1], 1.0)
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
