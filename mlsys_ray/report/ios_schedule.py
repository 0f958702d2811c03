"""A picture of a schedule: stages one after another, their groups side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from mlsys_ray.ios.schedule import Group, Schedule

COLORS = ("#4b9fd5", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c8c8c")
UNKNOWN = "engine's choice"
_ROWS = 30
"""Stages in a column of the picture, before it goes on beside it."""


def schedule_picture(schedule: Schedule, max_stages: int = 120) -> Figure:
    """Stages from top to bottom, with a box for each group that names its operators.

    A box is as wide as the group's share of the stage's threads, and has the colour of the
    kernel of its last operator; merged stages have a thick frame.

    Args:
        schedule: any one.
        max_stages: that are drawn, from the first.
    """
    stages = schedule.stages[:max_stages]
    colors = {kernel: COLORS[i % len(COLORS)] for i, kernel in enumerate(_kernels(schedule))}
    columns = max(1, -(-len(stages) // _ROWS))
    rows = min(len(stages), _ROWS)
    figure = Figure(figsize=(4.6 * columns, 1.2 + 0.32 * rows), layout="constrained")
    axis = figure.subplots()
    for number in range(len(stages)):
        column, row = divmod(number, _ROWS)
        axis.text(1.12 * column - 0.01, row, str(number), ha="right", va="center", fontsize=5)
        _draw_stage(axis, schedule, number, (1.12 * column, row), colors)
    axis.set_xlim(-0.06, 1.12 * columns)
    axis.set_ylim(rows - 0.5, -0.6)
    axis.set_axis_off()
    left_out = len(schedule.stages) - len(stages)
    axis.set_title(
        f"{schedule.device}, batch size {schedule.batch_size}"
        + (f"; {left_out} more stages are not drawn" if left_out else ""),
        fontsize=8,
    )
    for kernel, color in colors.items():
        axis.fill_between([], [], color=color, label=kernel)
    if colors:
        figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=7)
    return figure


def describe_schedule(schedule: Schedule) -> dict[str, Any]:
    """How many stages there are, of which kind, and how many operators each kernel computes."""
    kernels: dict[str, int] = {}
    for name in _names(schedule):
        kernel = schedule.kernels.get(name, UNKNOWN)
        kernels[kernel] = kernels.get(kernel, 0) + 1
    return {
        "graph": schedule.graph,
        "device": schedule.device,
        "batch_size": schedule.batch_size,
        "versions": schedule.versions,
        "operators": len(_names(schedule)),
        "stages": len(schedule.stages),
        "concurrent_stages": sum(
            len(stage) > 1 and not _merged(schedule, number)
            for number, stage in enumerate(schedule.stages)
        ),
        "merged_stages": sum(_merged(schedule, n) for n in range(len(schedule.stages))),
        "most_groups": max(map(len, schedule.stages), default=0),
        "kernels": kernels,
    }


def _names(schedule: Schedule) -> list[str]:
    return [name for stage in schedule.stages for group in stage for name in group]


def _kernels(schedule: Schedule) -> list[str]:
    return sorted({schedule.kernels.get(name, UNKNOWN) for name in _names(schedule)})


def _merged(schedule: Schedule, number: int) -> bool:
    return bool(schedule.strategies) and schedule.strategies[number] == "merge"


def _widths(schedule: Schedule, number: int) -> list[int | None]:
    """Threads of each group of a stage; None where the engine shares them out."""
    if not schedule.workers:
        return [None] * len(schedule.stages[number])
    return [count for _, count in schedule.workers[number]]


def _draw_stage(
    axis: Any,
    schedule: Schedule,
    number: int,
    corner: tuple[float, float],
    colors: Mapping[str, str],
) -> None:
    stage, widths = schedule.stages[number], _widths(schedule, number)
    shares = [width or 1 for width in widths]
    left = corner[0]
    for group, width, share in zip(stage, widths, shares, strict=True):
        size = share / sum(shares)
        axis.barh(
            corner[1],
            size,
            left=left,
            height=0.8,
            color=colors[schedule.kernels.get(group[-1], UNKNOWN)],
            edgecolor="black" if _merged(schedule, number) else "white",
            linewidth=2 if _merged(schedule, number) else 0.8,
        )
        axis.text(
            left + size / 2,
            corner[1],
            _label(group, width, round(46 * size)),
            ha="center",
            va="center",
            fontsize=5,
        )
        left += size


def _label(group: Group, width: int | None, room: int) -> str:
    """The operators' names and the group's threads, cut to so many characters."""
    threads = "" if width is None else f" x{width}"
    names = " > ".join(group)
    left = max(1, room - len(threads))
    return (names if len(names) <= left else names[: left - 1] + "…") + threads
