"""Plots of IOS: what schedules gain on devices of other widths, and tools side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure


def gain_by_width(rows: Sequence[Mapping[str, float]]) -> Figure:
    """How many times faster than the sequential schedule the others are, by lanes (simulated).

    Args:
        rows: `{lanes, sequential_ms, greedy_ms, ios_parallel_ms}` of each device.
    """
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axis = figure.subplots()
    lanes = [row["lanes"] for row in rows]
    for name, color in (("ios_parallel", "#d55e00"), ("greedy", "#4b9fd5")):
        gains = [row["sequential_ms"] / row[f"{name}_ms"] for row in rows]
        axis.plot(lanes, gains, marker="o", color=color, label=name)
    axis.axhline(1, color="#3d4451", lw=1, label="sequential")
    axis.set_xscale("log", base=2)
    axis.set_xticks(lanes, [str(width) for width in lanes])
    axis.set_xlabel("lanes of the simulated device")
    axis.set_ylabel("speed / sequential (simulated)")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    return figure


def latency_bars(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """The median latency of each tool that ran, with its minimum as a mark.

    Args:
        rows: `{tool, median_ms, min_ms}` of each tool; None where it did not run.
    """
    ran = [row for row in rows if row["median_ms"] is not None]
    figure = Figure(figsize=(6, 0.9 + 0.4 * len(ran)), layout="constrained")
    axis = figure.subplots()
    names = [row["tool"] for row in ran]
    axis.barh(names, [row["median_ms"] for row in ran], color="#4b9fd5", label="median")
    axis.plot([row["min_ms"] for row in ran], names, "|", color="#3d4451", ms=12, label="minimum")
    axis.invert_yaxis()
    axis.set_xlabel("latency [ms]")
    axis.grid(axis="x", alpha=0.3)
    axis.legend(frameon=False)
    return figure
