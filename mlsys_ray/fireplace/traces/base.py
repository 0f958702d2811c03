"""What every reader gives: a trace and what was broken in its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from mlsys_ray.fireplace.trace import Trace, presence
from mlsys_ray.fireplace.traces.rows import Broken

CPU_SHARE = 0.25
MEMORY_SHARE = 0.6
"""Steady use as a part of the request, in traces that record none."""


@dataclass(frozen=True, eq=False)
class ReadTrace:
    """A trace that was read, and the rows of its file that were skipped."""

    trace: Trace
    broken: Broken


class Reader(Protocol):
    """Reads one format; `traces.FORMATS` names them."""

    def __call__(self, path: Path, *, tick: float, skip_broken: bool) -> ReadTrace:
        """Read a file with ticks of `tick` seconds.

        Raises:
            ValueError: the file is not of the format, or holds broken rows that are not to be
                skipped; the text names their lines.
        """


def steady_use(
    arrival: np.ndarray, end: np.ndarray, rate: np.ndarray, tick: float
) -> dict[str, np.ndarray]:
    """The use series of VMs that always use the same, the fields `use` and `use_offset`.

    Args:
        arrival: float64 `[N]` [s].
        end: float64 `[N]` [s].
        rate: float64 `[N, D]`, use while alive.
        tick: telemetry interval [s].
    """
    offset, share = presence(arrival, end, tick)
    vm = np.repeat(np.arange(len(arrival)), np.diff(offset))
    return {"use": (rate[vm] * share[:, None]).astype(np.float32), "use_offset": offset}


def cpu_memory_trace(
    name: str,
    tick: float,
    arrival: np.ndarray,
    end: np.ndarray,
    request: np.ndarray,
    function: Sequence[str],
) -> Trace:
    """A trace of CPU [cores] and memory [MiB] without recorded use, sorted, from time 0 on.

    Use is steady at `CPU_SHARE` and `MEMORY_SHARE` of the request.
    """
    start = np.floor(arrival.min() / tick) * tick
    order = np.argsort(arrival, kind="stable")
    names, index = np.unique(np.asarray(function, dtype=str), return_inverse=True)
    arrival, end, request = arrival[order] - start, end[order] - start, request[order]
    return Trace(
        name=name,
        tick=tick,
        resources=("cpu", "memory"),
        arrival=arrival,
        end=end,
        request=request,
        function=index[order],
        functions=tuple(names.tolist()),
        **steady_use(arrival, end, request * [CPU_SHARE, MEMORY_SHARE], tick),
    )
