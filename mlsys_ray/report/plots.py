"""Plots in one style, for a light and a dark page; colours tell apart for the colour-blind.

A run has its slot: its colour and its marker, the same in every plot of a report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_MARKERS = "os^DvPX*"
_LOG_RANGE = 1e3
_CHARACTERS_PER_INCH = 10
_MANY_POINTS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Theme:
    """Colours of a page; `runs` by slot, `parts` for the parts of a bar."""

    background: str
    text: str
    faint: str
    runs: tuple[str, ...]
    parts: tuple[str, ...]


# After Okabe and Ito (runs) and Paul Tol (parts), without the yellows that vanish on white; the
# dark ones are the same hues, lightened.
LIGHT = Theme(
    background="#ffffff",
    text="#3d4451",
    faint="#e3e6eb",
    runs=(
        "#0072b2",
        "#d55e00",
        "#009e73",
        "#b5538d",
        "#d99000",
        "#4b9fd5",
        "#666c77",
        "#7a2553",
    ),
    parts=("#004488", "#6699cc", "#ddaa33", "#bb5566"),
)
DARK = Theme(
    background="#1b1e25",
    text="#c3c8d2",
    faint="#343945",
    runs=(
        "#4ba3e3",
        "#f5864b",
        "#2fc79a",
        "#e394c3",
        "#f2bb4d",
        "#a3d4f7",
        "#a9afba",
        "#c9659a",
    ),
    parts=("#5b8fd9", "#a3c8ee", "#e8c15f", "#dd7f8e"),
)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One run's metric; points whose `y` is not finite are not drawn."""

    label: str
    slot: int
    x: np.ndarray
    y: np.ndarray


def run_color(slot: int, theme: Theme = LIGHT) -> str:
    """The colour of the run in this slot; a ninth run has that of the first, but another line."""
    return theme.runs[slot % len(theme.runs)]


def smoothing_window(num_points: int) -> int:
    """Points that the mean line of a curve averages, an odd number; 1 where points are few."""
    return 1 if num_points <= _MANY_POINTS else num_points // 25 // 2 * 2 + 1


def curves(curves: Sequence[Curve], *, x_label: str, y_label: str, theme: Theme = LIGHT) -> Figure:
    """One line a run; where a run has many points, they are faint under their moving mean.

    The y axis is logarithmic for positive values over three decades or more.
    """
    figure, axes = canvas(theme, width=5.6, height=3.2)
    axes.grid(axis="y", color=theme.faint, linewidth=0.8)
    for curve in curves:
        drawn = np.isfinite(curve.y)
        x, y = curve.x[drawn], curve.y[drawn]
        color = run_color(curve.slot, theme)
        window = smoothing_window(len(y))
        if window > 1:
            axes.plot(x, y, color=color, linewidth=0.7, alpha=0.25)
        axes.plot(
            x,
            _moving_mean(y, window),
            label=curve.label,
            color=color,
            linestyle=("-", "--", ":", "-.")[curve.slot // len(theme.runs) % 4],
            linewidth=1.8,
            marker=_MARKERS[curve.slot % len(_MARKERS)],
            markersize=4.5,
            markevery=max(1, len(y) // 8),
        )
    values = np.concatenate([curve.y[np.isfinite(curve.y)] for curve in curves])
    if values.size and values.min() > 0 and values.max() / values.min() >= _LOG_RANGE:
        axes.set_yscale("log")
        y_label += " (logarithmic)"
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    legend(figure, [curve.label for curve in curves], theme)
    return figure


def _moving_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean over `window` values (an odd number), centred: over fewer towards the ends."""
    # Not by differences of running sums, which a single huge loss would spoil.
    index = np.arange(len(values))
    halves = np.minimum(window // 2, np.minimum(index, index[::-1]))
    spans = zip(index - halves, index + halves + 1, strict=True)
    return np.array([values[start:end].mean() for start, end in spans])


def time_split(parts: Mapping[str, Mapping[str, float]], theme: Theme = LIGHT) -> Figure:
    """One stacked bar a run; `parts[run][part]` is in seconds per iteration."""
    figure, axes = canvas(theme, width=8.4, height=1.3 + 0.4 * len(parts))
    names = list(dict.fromkeys(name for split in parts.values() for name in split))
    left = np.zeros(len(parts))
    for index, name in enumerate(names):
        widths = np.array([split.get(name, 0.0) for split in parts.values()])
        color = theme.parts[index % len(theme.parts)]
        axes.barh(
            np.arange(len(parts)),
            widths,
            left=left,
            height=0.62,
            label=name,
            color=color,
            edgecolor=theme.background,
            linewidth=1.2,
        )
        left += widths
    for position, total in enumerate(left):
        axes.annotate(
            f"{total:.3g} s",
            (total, position),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=theme.text,
        )
    axes.set_yticks(np.arange(len(parts)), list(parts))
    axes.invert_yaxis()
    axes.set_xlim(0, max(left.max() * 1.12, 1e-9))
    axes.grid(axis="x", color=theme.faint, linewidth=0.8)
    axes.set_xlabel("seconds per iteration (mean)")
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    legend(figure, names, theme)
    return figure


def canvas(theme: Theme, width: float, height: float) -> tuple[Figure, Axes]:
    """An empty picture in the style of all [inches]."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor=theme.background)
    axes = figure.add_subplot(facecolor=theme.background)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(theme.text)
    axes.tick_params(colors=theme.text, labelsize=9, length=3)
    axes.tick_params(axis="y", length=0)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(theme.text)
        label.set_fontsize(10)
    return figure, axes


def legend(figure: Figure, labels: Sequence[str], theme: Theme) -> None:
    """The legend above a picture, in as many columns as there is room for."""
    longest = max(map(len, labels)) + 4
    figure.legend(
        loc="outside upper left",
        ncols=max(
            1, min(len(labels), int(figure.get_figwidth() * _CHARACTERS_PER_INCH) // longest)
        ),
        frameon=False,
        fontsize=9,
        labelcolor=theme.text,
        handlelength=1.8,
        columnspacing=1.4,
    )
