"""What follows a run of the simulator beside it: forecasts, potentials, and cluster means."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mlsys_ray.fireplace.compiled import compiled
from mlsys_ray.fireplace.policies.forecast import (
    Forecast,
    forecast_arrival,
    forecast_departure,
    forecast_tick,
    open_forecast,
)
from mlsys_ray.fireplace.policies.potential import (
    Potential,
    PotentialWeights,
    open_potential,
    renew,
    renew_pm,
)
from mlsys_ray.fireplace.simulator import (
    ARRIVAL,
    DEPARTURE,
    END,
    TICK,
    State,
    next_event,
    open_tick,
    place,
    remove,
)
from mlsys_ray.fireplace.statistics import Statistics
from mlsys_ray.fireplace.trace import Trace, TraceArrays


class Means(NamedTuple):
    """Cluster means that features are relative to, float64 `[D]`, as parts of the capacity."""

    telemetry: np.ndarray
    requested: np.ndarray


class Tracker(NamedTuple):
    """The followers of one run; see their modules."""

    forecast: Forecast
    potential: Potential
    means: Means


def open_tracker(
    state: State, trace: Trace, statistics: Statistics, weights: PotentialWeights
) -> Tracker:
    """The tracker of an empty cluster.

    Raises:
        ValueError: the statistics are not for this trace's tick.
    """
    resources = len(trace.resources)
    return Tracker(
        open_forecast(state, trace, statistics),
        open_potential(state, weights),
        Means(np.zeros(resources), np.zeros(resources)),
    )


@compiled()
def to_arrival(state: State, trace: TraceArrays, tracker: Tracker) -> int:
    """Let time go on to the next arrival; its VM, -1 at the end of the trace."""
    forecast, potential, means = tracker
    while True:
        kind, index = next_event(state, trace)
        if kind == ARRIVAL:
            return index
        if kind == END:
            return -1
        if kind == TICK:
            open_tick(state, trace)
            forecast_tick(forecast, state, trace)
            renew(potential, forecast, state)
            renew_means(means, state)
        if kind == DEPARTURE:
            pm = remove(state, trace, index)
            if pm >= 0:
                forecast_departure(forecast, state, trace, index, pm)
                renew_pm(potential, forecast, state, pm)
                count_request(means, state, trace, index, pm, -1.0)


@compiled()
def place_vm(state: State, trace: TraceArrays, tracker: Tracker, vm: int, pm: int) -> None:
    """Place the VM that has arrived; -1 refuses it."""
    place(state, trace, vm, pm)
    if pm >= 0:
        forecast_arrival(tracker.forecast, state, trace, vm, pm)
        renew_pm(tracker.potential, tracker.forecast, state, pm)
        count_request(tracker.means, state, trace, vm, pm, 1.0)


@compiled()
def renew_means(means: Means, state: State) -> None:
    """A tick has begun, with new telemetry."""
    pms = len(state.capacity)
    means.telemetry[:] = 0.0
    for pm in range(pms):
        for d in range(state.capacity.shape[1]):
            means.telemetry[d] += state.telemetry[pm, d] / state.capacity[pm, d] / pms


@compiled()
def count_request(
    means: Means, state: State, trace: TraceArrays, vm: int, pm: int, sign: float
) -> None:
    """A VM has come (sign 1) or gone (-1)."""
    for d in range(state.capacity.shape[1]):
        part = trace.request[vm, d] / state.capacity[pm, d]
        means.requested[d] += sign * part / len(state.capacity)
