"""What ran when, on which thread."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that ran.

    Attributes:
        name: of the operator.
        thread: that it ran on, from 0; its row in the picture.
        start: since the run's beginning [us].
        duration: [us].
        stage: number of its stage.
        kernel: how it was computed, None where that is not known.
    """

    name: str
    thread: int
    start: float
    duration: float
    stage: int
    kernel: str | None = None
