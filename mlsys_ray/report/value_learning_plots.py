"""Plots of value learning: schedules beside PyTorch's kernels and the autoschedulers'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

CONTENDERS = {
    "value": "#d55e00",
    "mullapudi2016": "#4b9fd5",
    "adams2019_beam1": "#3d4451",
    "adams2019_retrained": "#7a8aa0",
    "adams2019_default_beam": "#1b7f5c",
    "li2018": "#c9ced6",
}


def times_of_torch(records: Sequence[Mapping[str, Any]]) -> Figure:
    """Runtimes over PyTorch's, by layer, on a logarithmic axis.

    Args:
        records: `{layer, NAME_ms}` of each layer; text where a contender failed, which is left out,
            as are layers that PyTorch did not run.
    """
    shown = [record for record in records if isinstance(record.get("torch_ms"), float)]
    names = [name for name in CONTENDERS if any(f"{name}_ms" in record for record in shown)]
    figure = Figure(figsize=(6.5, 1.6 + 0.7 * len(shown)), layout="constrained")
    axis = figure.subplots()
    height = 0.8 / max(len(names), 1)
    for number, name in enumerate(names):
        bars = [
            (place, record[f"{name}_ms"] / record["torch_ms"])
            for place, record in enumerate(shown)
            if isinstance(record.get(f"{name}_ms"), float)
        ]
        places, ratios = np.array(bars).reshape(-1, 2).T
        offset = (number - (len(names) - 1) / 2) * height
        # Points: bars would begin nowhere on a logarithmic axis.
        axis.plot(ratios, places + offset, "o", color=CONTENDERS[name], label=name)
    axis.axvline(1, color="#3d4451", lw=1)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_yticks(range(len(shown)), [record["layer"] for record in shown])
    axis.invert_yaxis()
    axis.grid(axis="x", alpha=0.3)
    axis.set_xlabel("runtime / PyTorch's (minima; left of 1 is faster)")
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return figure
