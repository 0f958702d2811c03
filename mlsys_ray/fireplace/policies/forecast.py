"""Each PM's expected load in the ticks to come, from what was learned of its VMs' functions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mlsys_ray.fireplace.compiled import compiled
from mlsys_ray.fireplace.simulator import State
from mlsys_ray.fireplace.statistics import HORIZONS, NUM_RESTS, Statistics
from mlsys_ray.fireplace.trace import Trace, TraceArrays

NUM_HORIZONS = len(HORIZONS)


class Forecast(NamedTuple):
    """Forecasts in the resources' units. N VMs, P machines, D resources, H horizons.

    Attributes:
        ages, presence, first_presence: as in `Statistics`.
        row: int64 `[N]`, the statistics' row of each VM.
        mean: float64 `[N, D]`, expected use of each VM while alive.
        variance: float64 `[N, D]`, variance of its use of a tick.
        alive: int64 `[N]`, the VMs alive are its first `num_alive[0]` entries.
        position: int64 `[N]`, where each is among them.
        num_alive: int64 `[1]`.
        load: float64 `[P, H, D]`, expected use in the tick `HORIZONS[h]` ahead.
        known: float64 `[ticks of delay, P, D]`, the expected use of past ticks, given who was there
            and for how long.
        spread: float64 `[P, D]`, variance of the PM's use of a tick.
        residual: float64 `[P, D]`, telemetry less what was expected of the tick it covers.
    """

    ages: np.ndarray
    presence: np.ndarray
    first_presence: np.ndarray
    row: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    alive: np.ndarray
    position: np.ndarray
    num_alive: np.ndarray
    load: np.ndarray
    known: np.ndarray
    spread: np.ndarray
    residual: np.ndarray


def open_forecast(state: State, trace: Trace, statistics: Statistics) -> Forecast:
    """The forecast of an empty cluster.

    Raises:
        ValueError: the statistics are not for this trace's tick or functions.
    """
    pms, resources = state.capacity.shape
    return Forecast(
        statistics.ages,
        statistics.presence,
        statistics.first_presence,
        statistics.rows(trace),
        statistics.expected_use(trace),
        statistics.expected_spread(trace) ** 2,
        np.zeros(trace.num_vms, dtype=np.int64),
        np.zeros(trace.num_vms, dtype=np.int64),
        np.zeros(1, dtype=np.int64),
        np.zeros((pms, NUM_HORIZONS, resources)),
        np.zeros((state.telemetry_delay, pms, resources)),
        np.zeros((pms, resources)),
        np.zeros((pms, resources)),
    )


@compiled()
def forecast_tick(forecast: Forecast, state: State, trace: TraceArrays) -> None:
    """A tick has begun: forecast anew from the ages, and learn the residual from telemetry."""
    tick = state.clock[0]
    slot = tick % state.telemetry_delay
    forecast.load[:] = 0.0
    for position in range(forecast.num_alive[0]):
        vm = forecast.alive[position]
        pm = state.placement[vm]
        age = tick * trace.tick - trace.arrival[vm]
        share = min(age / trace.tick, 1.0)
        curve = forecast.presence[forecast.row[vm], _age_bin(forecast, age)]
        for d in range(forecast.mean.shape[1]):
            mean = forecast.mean[vm, d]
            forecast.known[slot - 1, pm, d] += mean * share
            for h in range(NUM_HORIZONS):
                forecast.load[pm, h, d] += mean * curve[h]
    # The oldest of the past ticks is the one that telemetry now covers; its place is free then.
    if tick >= state.telemetry_delay:
        forecast.residual[:] = state.telemetry - forecast.known[slot]
    forecast.known[slot] = 0.0


@compiled()
def forecast_arrival(
    forecast: Forecast, state: State, trace: TraceArrays, vm: int, pm: int
) -> None:
    """A VM has been placed."""
    forecast.alive[forecast.num_alive[0]] = vm
    forecast.position[vm] = forecast.num_alive[0]
    forecast.num_alive[0] += 1
    curve = arrival_curve(forecast, state, trace, vm)
    for d in range(forecast.mean.shape[1]):
        forecast.spread[pm, d] += forecast.variance[vm, d]
        for h in range(NUM_HORIZONS):
            forecast.load[pm, h, d] += forecast.mean[vm, d] * curve[h]


@compiled()
def forecast_departure(
    forecast: Forecast, state: State, trace: TraceArrays, vm: int, pm: int
) -> None:
    """A VM has ended: what was expected of it gives way to what is known."""
    last = forecast.alive[forecast.num_alive[0] - 1]
    forecast.alive[forecast.position[vm]] = last
    forecast.position[last] = forecast.position[vm]
    forecast.num_alive[0] -= 1
    tick = state.clock[0]
    begin = tick * trace.tick
    if trace.first_tick[vm] == tick:
        curve = arrival_curve(forecast, state, trace, vm)
    else:
        age = begin - trace.arrival[vm]
        curve = forecast.presence[forecast.row[vm], _age_bin(forecast, age)]
    lived = (trace.end[vm] - max(trace.arrival[vm], begin)) / trace.tick
    for d in range(forecast.mean.shape[1]):
        mean = forecast.mean[vm, d]
        forecast.spread[pm, d] -= forecast.variance[vm, d]
        forecast.known[tick % state.telemetry_delay, pm, d] += mean * lived
        forecast.load[pm, 0, d] += mean * (lived - curve[0])
        for h in range(1, NUM_HORIZONS):
            forecast.load[pm, h, d] -= mean * curve[h]


@compiled()
def arrival_curve(forecast: Forecast, state: State, trace: TraceArrays, vm: int) -> np.ndarray:
    """Expected presence `[H]` of a VM that arrives in the present tick."""
    rest = state.clock[0] + 1 - trace.arrival[vm] / trace.tick
    rest_bin = min(int(rest * NUM_RESTS), NUM_RESTS - 1)
    return forecast.first_presence[forecast.row[vm], rest_bin]


@compiled()
def _age_bin(forecast: Forecast, age: float) -> int:
    return int(np.searchsorted(forecast.ages, age, side="right")) - 1
