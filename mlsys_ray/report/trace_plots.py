"""Plots of a trace of VMs."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from mlsys_ray.fireplace.trace import Trace

BINS = 400
"""Points of a curve over time, at most."""


def lives(trace: Trace) -> Figure:
    """The distribution of lives, of VMs and weighted by the time they live."""
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axis = figure.subplots()
    life = np.sort(trace.end - trace.arrival)
    axis.plot(life, np.arange(1, len(life) + 1) / len(life), label="of VMs")
    axis.plot(life, life.cumsum() / life.sum(), label="of VM-seconds")
    axis.set_xscale("log")
    axis.set_xlabel("life [s]")
    axis.set_ylabel("part that is shorter")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    return figure


def over_time(trace: Trace) -> Figure:
    """Arrivals, VMs alive and use over time."""
    figure = Figure(figsize=(8, 2 * (2 + len(trace.resources))), layout="constrained")
    axes = figure.subplots(2 + len(trace.resources), sharex=True)
    edges = np.arange(trace.num_ticks) * trace.tick
    arrivals = np.bincount(trace.first_tick, minlength=trace.num_ticks)
    lengths = np.diff(trace.use_offset)
    tick = np.repeat(trace.first_tick - trace.use_offset[:-1], lengths) + np.arange(len(trace.use))
    counted = tick < trace.num_ticks
    series = [("arrivals a tick", arrivals), ("VMs alive", trace.alive)]
    for d, name in enumerate(trace.resources):
        use = np.bincount(tick[counted], trace.use[counted, d], minlength=trace.num_ticks)
        series.append((f"{name} used", use))
    step = -(-trace.num_ticks // BINS)
    for axis, (label, values) in zip(axes, series, strict=True):
        whole = len(values) // step * step
        axis.plot(edges[:whole:step], values[:whole].reshape(-1, step).mean(axis=1), lw=1.0)
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel("time [s]")
    return figure
