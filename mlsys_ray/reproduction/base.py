"""What the parts of a reproduction are: commands that are run, and blocks that compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mlsys_ray.cluster.run_reader import Run

Scale = Literal["laptop", "cluster"]
System = Literal["ios", "value-learning", "byzshield", "fireplace"]
SYSTEMS: dict[System, str] = {
    "ios": "IOS",
    "value-learning": "Value learning",
    "byzshield": "ByzShield",
    "fireplace": "FirePlace",
}
Status = Literal["replicated", "in shape", "not replicated", "failed", "not attempted"]
STATUSES: tuple[Status, ...] = (
    "replicated",
    "in shape",
    "not replicated",
    "failed",
    "not attempted",
)
"""Best first: a block is as good as its worst row."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command of `mlsys-ray` that leaves a run directory.

    Attributes:
        name: of its run directory, in the folder of the reproduction.
        arguments: of the command, without its run directory; `{folder}` stands for the folder of
            the reproduction.
        before: arguments of a command that makes what this one reads.
        resumes: the command goes on in its own run directory; others begin anew.
        on_cluster: the command takes `--address`.
    """

    name: str
    arguments: tuple[str, ...]
    before: tuple[str, ...] = ()
    resumes: bool = False
    on_cluster: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number of a paper beside the one found here.

    Attributes:
        group: what it is about: a network, a method; the label of an axis of a plot.
        series: which of its numbers; a colour of a plot.
        paper: as printed; None where the paper prints none.
        here: found; None where it could not be.
        status: None for a row that others are compared with.
        x: where it stands on the axis of a curve.
        note: more about this row.
    """

    group: str
    series: str
    paper: float | None
    here: float | None
    status: Status | None
    x: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Here over paper."""
        if self.paper is None or self.here is None or self.paper == 0:
            return None
        return self.here / self.paper


Runs = Mapping[str, Run]
"""Finished runs by the name of their step."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """A table or figure of a paper.

    Attributes:
        name: the same in every run, for files and links.
        system: whose paper.
        title: its number and subject.
        source: where the paper's numbers stand, and what they were measured on.
        claim: what the paper says by it.
        tolerance: what counts as replicated and as in shape, fixed before any run.
        why: why numbers differ, or why it is not attempted.
        unit: of its numbers.
        steps: names of the steps that it reads; none where it is not attempted.
        compare: from these steps' runs to rows.
        plots: step and name of plots that the run itself drew.
        layout: as in the paper, bars or curves.
        x_label: of the axis of curves.
    """

    name: str
    system: System
    title: str
    source: str
    claim: str
    why: str
    tolerance: str = ""
    unit: str = ""
    steps: tuple[str, ...] = ()
    compare: Callable[[Runs], Sequence[Row]] = lambda runs: ()
    plots: tuple[tuple[str, str], ...] = ()
    layout: Literal["bars", "curves"] = "bars"
    x_label: str = ""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a system's reproduction at some scale runs and compares."""

    steps: tuple[Step, ...]
    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        known = {step.name for step in self.steps}
        assert all(known.issuperset(block.steps) for block in self.blocks)


def judged(paper: float, here: float | None, *, within: float, in_shape: bool = False) -> Status:
    """How near a number comes to the paper's.

    Args:
        paper: as printed.
        here: found, None if it was not.
        within: relative difference up to which it is replicated.
        in_shape: whether it says the same otherwise.

    >>> judged(10, 10.2, within=0.05), judged(10, 14, within=0.05, in_shape=True)
    ('replicated', 'in shape')
    """
    if here is None:
        return "failed"
    if abs(here - paper) <= within * abs(paper):
        return "replicated"
    return "in shape" if in_shape else "not replicated"


def worst(rows: Sequence[Row]) -> Status:
    """The status of a block: that of its worst row."""
    found = [row.status for row in rows if row.status is not None]
    return max(found, key=STATUSES.index, default="failed")
