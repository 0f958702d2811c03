"""The event-driven simulator: arrivals and departures in order of time, telemetry by ticks.

It is this project's own design; FirePlace's simulator is not published.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mlsys_ray.fireplace.compiled import compiled
from mlsys_ray.fireplace.trace import Trace, TraceArrays

if TYPE_CHECKING:
    from mlsys_ray.fireplace.policies.base import Policy

NOT_PLACED = -1
END, TICK, DEPARTURE, ARRIVAL = range(4)
AVERAGE_WEIGHT = 0.2
"""Weight of the last telemetry in the running average."""


class State(NamedTuple):
    """The cluster as compiled code sees it. P machines, D resources, T ticks, N VMs.

    A policy may read all but `load`, which holds the future use of the VMs placed, too.

    Attributes:
        clock: int64 `[3]`: the present tick, the next arrival, the next departure.
        telemetry_delay: ticks between a tick and the telemetry of it, at least 1.
        overcommit: the part of a PM's capacity that requests may take in all.
        capacity: float64 `[P, D]`.
        placement: int64 `[N]`, each VM's PM; -1 where it was refused or has not arrived.
        load: float64 `[T, P, D]`, use of each tick in the resource's unit.
        telemetry: float64 `[P, D]`, use in the last tick that telemetry covers.
        average: float64 `[P, D]`, exponential running average of the telemetry.
        requested: float64 `[P, D]`, requests of the VMs alive.
        since: float64 `[P, D]`, requests of those that arrived after what telemetry covers.
        departed: float64 `[P, D]`, requests of those that have left since, though telemetry still
            counts them.
        num_alive: int64 `[P]`.
    """

    clock: np.ndarray
    telemetry_delay: int
    overcommit: float
    capacity: np.ndarray
    placement: np.ndarray
    load: np.ndarray
    telemetry: np.ndarray
    average: np.ndarray
    requested: np.ndarray
    since: np.ndarray
    departed: np.ndarray
    num_alive: np.ndarray


def open_state(
    trace: Trace,
    capacity: np.ndarray,
    *,
    telemetry_delay: int = 1,
    overcommit: float = 1.0,
) -> State:
    """An empty cluster before the first tick.

    Args:
        trace: what will be placed.
        capacity: float64 `[P, D]`, above 0.
        telemetry_delay: age of the newest telemetry [ticks].
        overcommit: the part of its capacity that a PM's requests may take; above 1 overcommits.

    Raises:
        ValueError: a number is out of range, or a VM fits on no PM even when it is empty.
    """
    capacity = np.ascontiguousarray(capacity, dtype=np.float64)
    if capacity.ndim != 2 or capacity.shape[1] != len(trace.resources) or not len(capacity):
        raise ValueError(
            f"capacity has the shape {capacity.shape};"
            f" it must be (number of PMs, {len(trace.resources)})"
        )
    if not (capacity > 0).all():
        raise ValueError(f"capacity must be above 0; the least is {capacity.min()}")
    if telemetry_delay < 1:
        raise ValueError(f"telemetry_delay is {telemetry_delay}; it must be at least 1 tick")
    if not overcommit > 0:
        raise ValueError(f"overcommit is {overcommit}; it must be above 0")
    pms, resources = capacity.shape
    telemetry, average, requested, since, departed = np.zeros((5, pms, resources))
    return State(
        np.array([-1, 0, 0]),
        telemetry_delay,
        float(overcommit),
        capacity,
        np.full(trace.num_vms, NOT_PLACED),
        np.zeros((trace.num_ticks, pms, resources)),
        telemetry,
        average,
        requested,
        since,
        departed,
        np.zeros(pms, dtype=np.int64),
    )


@compiled()
def next_event(state: State, trace: TraceArrays) -> tuple[int, int]:
    """Take the next event: its kind, and the tick or the VM it is of.

    Ticks come before what happens in them, departures before arrivals of the same time. The run
    ends with the last arrival.
    """
    tick, arrival, departure = state.clock
    if arrival == len(trace.arrival):
        return END, -1
    vm = trace.departures[departure]
    kind, moment = ARRIVAL, trace.arrival[arrival]
    if trace.end[vm] <= moment:
        kind, moment = DEPARTURE, trace.end[vm]
    if moment >= (tick + 1) * trace.tick:
        state.clock[0] += 1
        return TICK, tick + 1
    if kind == DEPARTURE:
        state.clock[2] += 1
        return DEPARTURE, vm
    state.clock[1] += 1
    return ARRIVAL, arrival


@compiled()
def open_tick(state: State, trace: TraceArrays) -> None:
    """Telemetry moves on by a tick; what happened since is counted anew."""
    covered = state.clock[0] - state.telemetry_delay
    if covered >= 0:
        weight = AVERAGE_WEIGHT if covered > 0 else 1.0
        for p in range(len(state.capacity)):
            for d in range(state.capacity.shape[1]):
                state.telemetry[p, d] = state.load[covered, p, d]
                state.average[p, d] += weight * (state.telemetry[p, d] - state.average[p, d])
    state.since[:] = 0.0
    state.departed[:] = 0.0
    arrivals, departures = state.clock[1], state.clock[2]
    for vm in range(arrivals - 1, -1, -1):
        if trace.first_tick[vm] <= covered:
            break
        if state.placement[vm] >= 0 and trace.end[vm] >= state.clock[0] * trace.tick:
            state.since[state.placement[vm]] += trace.request[vm]
    for position in range(departures - 1, -1, -1):
        vm = trace.departures[position]
        if trace.end[vm] < (covered + 1) * trace.tick:
            break
        if state.placement[vm] >= 0 and trace.first_tick[vm] <= covered:
            state.departed[state.placement[vm]] += trace.request[vm]


@compiled()
def remove(state: State, trace: TraceArrays, vm: int) -> int:
    """A VM ends; the PM it was on, -1 if it had been refused."""
    pm = state.placement[vm]
    if pm < 0:
        return pm
    seen = trace.first_tick[vm] <= state.clock[0] - state.telemetry_delay
    for d in range(state.capacity.shape[1]):
        request = trace.request[vm, d]
        state.requested[pm, d] -= request
        if seen:
            state.departed[pm, d] += request
        else:
            state.since[pm, d] -= request
    state.num_alive[pm] -= 1
    return pm


@compiled()
def place(state: State, trace: TraceArrays, vm: int, pm: int) -> None:
    """Put an arriving VM on a PM; its use is added to the PM's load over its whole life."""
    state.placement[vm] = pm
    if pm < 0:
        return
    for d in range(state.capacity.shape[1]):
        state.requested[pm, d] += trace.request[vm, d]
        state.since[pm, d] += trace.request[vm, d]
    state.num_alive[pm] += 1
    first = trace.first_tick[vm]
    start = trace.use_offset[vm]
    length = min(trace.use_offset[vm + 1] - start, trace.num_ticks - first)
    for position in range(length):
        for d in range(state.capacity.shape[1]):
            state.load[first + position, pm, d] += trace.use[start + position, d]


@compiled()
def fits(state: State, trace: TraceArrays, vm: int, pm: int) -> bool:
    """Whether a PM admits a VM: its requests and the VM's stay within what may be taken."""
    for d in range(state.capacity.shape[1]):
        room = state.overcommit * state.capacity[pm, d] * (1 + 1e-9)
        if state.requested[pm, d] + trace.request[vm, d] > room:
            return False
    return True


@compiled()
def admitting(state: State, trace: TraceArrays, vm: int) -> np.ndarray:
    """The PMs that admit a VM, bool `[P]`."""
    admitted = np.empty(len(state.capacity), dtype=np.bool_)
    for pm in range(len(admitted)):
        admitted[pm] = fits(state, trace, vm, pm)
    return admitted


@dataclass(frozen=True, eq=False, kw_only=True)
class Run:
    """A trace as a policy placed it.

    Attributes:
        placement: int64 `[N]`, each VM's PM; -1: refused, as it fitted nowhere.
        load: float64 `[T, P, D]`, use as a part of the PM's capacity.
        seconds: wall time of the run [s].
    """

    placement: np.ndarray
    load: np.ndarray
    seconds: float


def simulate(
    trace: Trace,
    capacity: np.ndarray,
    policy: Policy,
    *,
    telemetry_delay: int = 1,
    overcommit: float = 1.0,
    seed: int = 0,
) -> Run:
    """Place every VM of a trace as it arrives.

    Args:
        trace: N VMs.
        capacity: float64 `[P, D]` of the PMs, in the trace's units.
        policy: asked at each arrival.
        telemetry_delay: age of the newest telemetry [ticks], at least 1.
        overcommit: the part of its capacity that a PM's requests may take in all.
        seed: of the policy's own randomness, if it has any.

    Raises:
        ValueError: a number is out of range, or the policy chose a PM that does not admit the VM.
    """
    state = open_state(trace, capacity, telemetry_delay=telemetry_delay, overcommit=overcommit)
    _ = trace.arrays  # Prepared outside the time that is measured.
    start = perf_counter()
    policy.run(state, trace, seed)
    seconds = perf_counter() - start
    return Run(placement=state.placement, load=state.load / state.capacity, seconds=seconds)
