"""The page of a reproduction: paper and here, block by block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlsys_ray import __version__
from mlsys_ray.cluster.atomic import atomic_write
from mlsys_ray.report import plots
from mlsys_ray.report.formatting import value_text
from mlsys_ray.report.html import Picture, inline, page_template, picture
from mlsys_ray.report.reproduction_plots import paper_and_here
from mlsys_ray.reproduction import STATUSES, SYSTEMS
from mlsys_ray.reproduction.running import Cost, Filled, Outcome

CLASSES = {
    "replicated": "done",
    "in shape": "running",
    "not replicated": "interrupted",
    "failed": "failed",
    "not attempted": "skipped",
}
"""Status -> class of the style sheet."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A block with its pictures."""

    filled: Filled
    pictures: list[Picture]


def write_reproduction(
    blocks: Sequence[Filled],
    outcomes: dict[str, Outcome],
    output: Path,
    *,
    scale: str,
    environment: dict[str, Any],
    command: str,
) -> None:
    """Write the page on blocks to `output`.

    Args:
        blocks: filled or failed.
        outcomes: of the steps, by name.
        output: the page.
        scale: laptop or cluster.
        environment: machine and versions.
        command: that makes the page again.

    Raises:
        OSError: `output` cannot be written.
    """
    page = page_template("reproduction.html.jinja").render(
        version=__version__,
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        themes={"light": plots.LIGHT, "dark": plots.DARK},
        scale=scale,
        systems={
            title: [_section(b, outcomes) for b in blocks if b.block.system == system]
            for system, title in SYSTEMS.items()
            if any(b.block.system == system for b in blocks)
        },
        counts=Counter(filled.status for filled in blocks),
        statuses=STATUSES,
        classes=CLASSES,
        outcomes=outcomes,
        total=_total(outcomes),
        environment=environment,
        command=command,
        number=number_text,
    )
    atomic_write(output, page)


def _total(outcomes: dict[str, Outcome]) -> Cost | None:
    """Times of all parts, and the most memory of one; None where one is not known."""
    costs = [outcome.cost for outcome in outcomes.values()]
    known = [cost for cost in costs if cost is not None]
    if not known or len(known) < len(costs):
        return None
    return Cost(
        seconds=sum(cost.seconds for cost in known),
        cpu_seconds=sum(cost.cpu_seconds for cost in known),
        peak_bytes=max(cost.peak_bytes for cost in known),
    )


def number_text(value: float | None) -> str:
    """A number as in the tables of the page: whole ones in full, others with three figures.

    >>> number_text(3757392.0), number_text(1.0513), number_text(None)
    ('3\u202f757\u202f392', '1.05', '–')
    """
    if value is None or float(value).is_integer():
        return value_text(value)
    return value_text(float(f"{value:.3g}"))


def _section(filled: Filled, outcomes: dict[str, Outcome]) -> Section:
    pictures = []
    if any(row.paper is not None or row.here is not None for row in filled.rows):
        title = f"{filled.block.title}: paper and here"
        pictures.append(
            picture(
                lambda theme: paper_and_here(filled.block, filled.rows, theme),
                title=title,
                alt=f"{title}, the numbers of the table",
            )
        )
    for step, name in filled.block.plots:
        run = outcomes[step].run if step in outcomes else None
        found = run and next((plot for plot in run.plots if plot.stem == name), None)
        if found:
            pictures.append(
                Picture(
                    title=f"{name} ({step})",
                    alt=f"{name}, plot of the run {step}",
                    light=inline(found.read_bytes()),
                )
            )
    return Section(filled=filled, pictures=pictures)
