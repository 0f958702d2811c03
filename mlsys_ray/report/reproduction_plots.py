"""Plots of a reproduction: the paper's numbers and those found here, in one picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mlsys_ray.report.plots import LIGHT, Theme, canvas, run_color
from mlsys_ray.reproduction.base import Block, Row

_LOG_RANGE = 300
_LONG_LABEL = 14
_BAR_INCHES = 0.24


def paper_and_here(block: Block, rows: Sequence[Row], theme: Theme = LIGHT) -> Figure:
    """A block as the paper draws it: hollow what it prints, filled what was found here.

    Args:
        block: says whether there are bars or curves.
        rows: of it, at least one with a number.
        theme: of the page.
    """
    series = list(dict.fromkeys(row.series for row in rows))
    if block.layout == "curves":
        figure, axes = canvas(theme, width=6.4, height=3.6)
        _curves(axes, rows, series, theme)
        axes.set_xlabel(block.x_label)
    else:
        groups = list(dict.fromkeys(row.group for row in rows))
        width = 1.6 + _BAR_INCHES * sum(_num_bars(rows, group) + 1 for group in groups)
        figure, axes = canvas(theme, width=float(np.clip(width, 5.0, 11.0)), height=3.8)
        _bars(axes, rows, groups, series, theme)
    values = [v for row in rows for v in (row.paper, row.here) if v is not None and v > 0]
    if values and max(values) / min(values) >= _LOG_RANGE:
        axes.set_yscale("log")
        axes.minorticks_off()
    axes.grid(axis="y", color=theme.faint, linewidth=0.8)
    axes.set_ylabel(block.unit)
    _legend(figure, series, theme)
    return figure


def _num_bars(rows: Sequence[Row], group: str) -> int:
    return sum(
        value is not None for row in rows if row.group == group for value in (row.paper, row.here)
    )


def _bars(
    axes: Axes, rows: Sequence[Row], groups: Sequence[str], series: Sequence[str], theme: Theme
) -> None:
    place, ticks = 0.0, []
    for group in groups:
        begin = place
        for row in rows:
            if row.group != group:
                continue
            color = run_color(series.index(row.series), theme)
            if row.paper is not None:
                axes.bar(place, row.paper, 0.86, fill=False, edgecolor=color, linewidth=1.4)
                place += 1
            if row.here is not None:
                axes.bar(place, row.here, 0.86, color=color, edgecolor=color, linewidth=1.4)
                place += 1
        ticks.append((begin + place - 1) / 2)
        place += 1
    slanted = max(map(len, groups)) > _LONG_LABEL and len(groups) > 3
    axes.set_xticks(
        ticks,
        list(groups),
        rotation=28 if slanted else 0,
        ha="right" if slanted else "center",
        rotation_mode="anchor",
    )
    axes.tick_params(axis="x", length=0)


def _curves(axes: Axes, rows: Sequence[Row], series: Sequence[str], theme: Theme) -> None:
    for slot, name in enumerate(series):
        own = [row for row in rows if row.series == name and row.x is not None]
        color = run_color(slot, theme)
        for value, line, fill, size in (("paper", "--", "none", 9), ("here", "-", "full", 4)):
            points = [(row.x or 0.0, v) for row in own if (v := getattr(row, value)) is not None]
            axes.plot(
                [x for x, _ in points],
                [y for _, y in points],
                color=color,
                linewidth=1.4,
                linestyle=line,
                marker="o",
                markersize=size,
                fillstyle=fill,
            )
    axes.set_xticks(sorted({row.x for row in rows if row.x is not None}))


def _legend(figure: Figure, series: Sequence[str], theme: Theme) -> None:
    colors = [Patch(color=run_color(slot, theme), label=name) for slot, name in enumerate(series)]
    kinds = [
        Patch(fill=False, edgecolor=theme.text, label="paper"),
        Patch(color=theme.text, label="here"),
    ]
    handles = [*kinds, *(colors if len(series) > 1 else [])]
    longest = max(len(str(handle.get_label())) for handle in handles) + 5
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=max(1, min(len(handles), int(10 * figure.get_figwidth()) // longest)),
        frameon=False,
        fontsize=9,
        labelcolor=theme.text,
        handlelength=1.4,
        columnspacing=1.4,
    )
