"""How the server asks workers and how values come back."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


@dataclass(frozen=True, eq=False)
class Task:
    """What the server broadcasts in an iteration.

    Attributes:
        iteration: from 0.
        parameters: float32 `[d]`.
        files: int64 `[f, b/f]`, the training rows of each file.
    """

    iteration: int
    parameters: np.ndarray
    files: np.ndarray


@dataclass(frozen=True)
class Reply:
    """What one worker answered.

    Attributes:
        digests: digest by file; files whose gradient failed are left out.
        failure: why all or some digests are missing: late, dead, error or malformed; else None.
        detail: what the worker says of an error.
    """

    digests: Mapping[int, bytes] = field(default_factory=dict)
    failure: str | None = None
    detail: str = ""


@dataclass(frozen=True)
class Answers:
    """The replies of an iteration.

    Attributes:
        replies: one per worker, by worker.
        compute_seconds: longest time any process says it computed [seconds].
        bytes_received: digests that came in [bytes].
    """

    replies: Mapping[int, Reply]
    compute_seconds: float
    bytes_received: int


class Source(Protocol):
    """Where the copies are that workers have vouched for."""

    def fetch(
        self, iteration: int, wanted: Sequence[tuple[int, int]], deadline: float
    ) -> dict[tuple[int, int], object]:
        """Get the gradients of (worker, file) pairs, as sent: the caller checks them.

        A pair that cannot be had within `deadline` seconds is left out.
        """


class Transport(Source, Protocol):
    """Carries tasks to workers and values to the server.

    Nothing a worker does may raise here: it becomes a failure of that worker.
    """

    def compute(self, task: Task, deadline: float) -> Answers:
        """Have every worker compute its files; wait at most `deadline` seconds."""

    def close(self) -> None:
        """End the workers."""


class Metered:
    """A source that counts what comes from another.

    Attributes:
        bytes_received: gradients that were fetched [bytes].
        seconds: time spent waiting for them [seconds].
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.bytes_received = 0
        self.seconds = 0.0

    def fetch(
        self, iteration: int, wanted: Sequence[tuple[int, int]], deadline: float
    ) -> dict[tuple[int, int], object]:
        """See `Source.fetch`."""
        start = time.perf_counter()
        values = self._source.fetch(iteration, wanted, deadline)
        self.seconds += time.perf_counter() - start
        arrays = (value for value in values.values() if isinstance(value, np.ndarray))
        self.bytes_received += sum(array.nbytes for array in arrays)
        return values
