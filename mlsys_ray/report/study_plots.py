"""Plots of studies: what each trial came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure


def bars(rows: Sequence[Mapping[str, Any]], names: Sequence[str], value: str, label: str) -> Figure:
    """One number of each trial, as bars.

    Args:
        rows: of the study's table; those without the number are left out.
        names: columns that tell the trials apart; one that is the same in all is not shown.
        value: column of the number.
        label: of the axis, with the unit.
    """
    shown = [row for row in rows if row[value] is not None]
    telling = [name for name in names if len({row[name] for row in rows}) > 1] or names[:1]
    figure = Figure(figsize=(6.5, 1 + 0.3 * len(shown)), layout="constrained")
    axis = figure.subplots()
    places = range(len(shown))
    axis.barh(places, [row[value] for row in shown], color="#4b9fd5")
    axis.set_yticks(places, [_label([row[name] for name in telling]) for row in shown])
    axis.invert_yaxis()
    axis.set_xlabel(label)
    axis.grid(axis="x", alpha=0.3)
    return figure


def _label(values: Sequence[Any]) -> str:
    return ", ".join(f"{value:.3g}" if isinstance(value, float) else str(value) for value in values)
