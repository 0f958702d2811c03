"""A comparison as a table for people."""

from __future__ import annotations

import math

from rich import box
from rich.console import Group as Lines
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from mlsys_ray.report.compare import Cell, Comparison, Metric

_WAY = {"higher": " ↑", "lower": " ↓", None: ""}
_NONE = "-"


def comparison_table(comparison: Comparison) -> RenderableType:
    """One block of rows a metric, one row a group; fits 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", overflow="fold", min_width=20)
    table.add_column("runs", justify="right")
    table.add_column("median ± spread", justify="right", no_wrap=True)
    table.add_column("min", justify="right", no_wrap=True)
    table.add_column("ratio", justify="right", no_wrap=True)
    table.add_column("to the first", no_wrap=True)
    for metric in comparison.metrics:
        table.add_row(f"[bold]{escape(metric.name)}{_WAY[metric.better]}[/]")
        for group, cell in zip(comparison.groups, metric.cells, strict=True):
            table.add_row("  " + escape(group.name), *(_cells(metric, cell) if cell else [_NONE]))
    if len(comparison.groups) > 1:
        table.add_row("[bold]geometric mean ↑[/]")
    for group in comparison.groups[1:]:
        mean = _short(group.improvement)
        table.add_row(
            "  " + escape(group.name), "", "", "", mean, f"of {group.num_improvements} metrics"
        )
    note = (
        "[dim]↑ higher is better, ↓ lower; spread: half the range over the runs; ratio: median to"
        " the first group's; luck: how often equal groups would differ so; geometric mean: of the"
        " improvements, above 1 is better[/]"
    )
    left_out = [
        f"[yellow]left out:[/] {escape(run)}: {escape(reason)}"
        for run, reason in comparison.left_out.items()
    ]
    lines: list[RenderableType] = [table, note] if comparison.groups else []
    return Lines(*lines, *left_out)


def _cells(metric: Metric, cell: Cell) -> list[str]:
    spread = "" if cell.half_range is None else f" ± {cell.half_range:.2g}"
    return [
        str(len(cell.values)),
        _short(cell.median) + spread,
        _short(cell.minimum),
        _short(cell.ratio),
        _verdict(metric, cell),
    ]


def _verdict(metric: Metric, cell: Cell) -> str:
    if cell.noise is None:
        return ""
    if cell.noise == "unknown":
        return "[dim]unknown (one run)[/]"
    if cell.noise == "inside":
        return "[dim]inside the noise[/]"
    luck = f"[dim](luck {cell.chance:.0%})[/]"
    if metric.better is None or cell.ratio is None:
        return f"differs {luck}"
    better = (cell.ratio > 1) == (metric.better == "higher")
    return f"[green]better[/] {luck}" if better else f"[red]worse[/] {luck}"


def _short(number: float | None) -> str:
    if number is None or math.isnan(number):
        return _NONE
    return f"{number:.4g}"
