"""Plots of placements: PAR over time, and the loads of the PMs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mlsys_ray.fireplace.metrics import peak_to_average, warm_up_ticks

WINDOW = 25
"""Ticks of the moving mean of PAR [ticks]."""


def par_over_time(loads: Mapping[str, np.ndarray], resources: Sequence[str]) -> Figure:
    """PAR by tick of each policy, a panel a resource, after the warm-up.

    Args:
        loads: policy -> float `[T, P, D]`, use as a part of the capacity.
        resources: names of the D resources.
    """
    figure = Figure(figsize=(8, 2.6 * len(resources)), layout="constrained")
    axes = figure.subplots(len(resources), sharex=True, squeeze=False)[:, 0]
    for d, (axis, resource) in enumerate(zip(axes, resources, strict=True)):
        for name, load in loads.items():
            first = warm_up_ticks(len(load))
            par = peak_to_average(load[first:])[:, d]
            window = min(WINDOW, len(par))
            smooth = np.convolve(par, np.ones(window) / window, mode="valid")
            axis.plot(first + np.arange(len(smooth)) + window / 2, smooth, label=name, lw=1.2)
        axis.set_ylabel(f"PAR of {resource}")
        axis.grid(alpha=0.3)
    axes[0].legend(ncols=4, frameon=False, loc="lower left", bbox_to_anchor=(0, 1))
    axes[-1].set_xlabel(f"tick (mean over {WINDOW})")
    return figure


def pm_loads(loads: Mapping[str, np.ndarray], resource: str, index: int) -> Figure:
    """The load of every PM over time under some policies, as heat maps of one scale.

    Args:
        loads: policy -> float `[T, P, D]`.
        resource: name of the resource shown.
        index: of it.
    """
    figure = Figure(figsize=(8, 2.2 * len(loads)), layout="constrained")
    axes = figure.subplots(len(loads), sharex=True, squeeze=False)[:, 0]
    shown = {name: load[warm_up_ticks(len(load)) :, :, index] for name, load in loads.items()}
    largest = max(float(load.max()) for load in shown.values())
    picture: Any = None
    for axis, (name, load) in zip(axes, shown.items(), strict=True):
        picture = axis.imshow(
            load.T, aspect="auto", vmin=0, vmax=largest, cmap="magma", interpolation="nearest"
        )
        axis.set_ylabel("PM")
        axis.set_title(name, loc="left", fontsize=10)
    axes[-1].set_xlabel("tick after the warm-up")
    figure.colorbar(picture, ax=list(axes), label=f"{resource} used / capacity")
    return figure


def par_bars(policies: Mapping[str, Mapping[str, Any]], rungs: Mapping[str, float]) -> Figure:
    """PAR of each policy with its interval, and the rungs of hindsight as lines.

    Args:
        policies: name -> `{par, par_half_width}`.
        rungs: name -> PAR.
    """
    shown = {name: row for name, row in policies.items() if row["par"] < 2.0}
    names = sorted(shown, key=lambda name: -shown[name]["par"])
    figure = Figure(figsize=(8, 0.34 * len(names) + 1.4), layout="constrained")
    axis = figure.subplots()
    axis.barh(
        names,
        [shown[name]["par"] - 1 for name in names],
        xerr=[shown[name]["par_half_width"] or 0.0 for name in names],
        color=["#d55e00" if name == "fireplace" else "#4b9fd5" for name in names],
    )
    for style, (name, par) in zip(("--", ":"), rungs.items(), strict=False):
        axis.axvline(par - 1, color="#3d4451", linestyle=style, label=f"hindsight, {name}")
    axis.set_xlabel("PAR - 1")
    axis.grid(axis="x", alpha=0.3)
    if rungs:
        axis.legend(frameon=False)
    return figure
