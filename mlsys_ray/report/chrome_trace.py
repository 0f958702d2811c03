"""Measured runs as Chrome traces, which Perfetto (ui.perfetto.dev) and chrome://tracing open."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from mlsys_ray.ios.events import Event


def chrome_trace(events: Iterable[Event], title: str) -> dict[str, Any]:
    """The content of a trace file, in the JSON object format, to be written as JSON.

    Args:
        events: those of one thread do not overlap.
        title: of the run.

    Raises:
        ValueError: an event begins or lasts less than 0, or two of a thread overlap.
    """
    ordered = sorted(events, key=lambda event: (event.thread, event.start))
    _check(ordered)
    threads = sorted({event.thread for event in ordered})
    names = [_metadata("process_name", 0, title)]
    names += [_metadata("thread_name", thread, f"thread {thread}") for thread in threads]
    complete = [
        {
            "ph": "X",
            "pid": 0,
            "tid": event.thread,
            "name": event.name,
            "cat": event.kernel or "operator",
            "ts": event.start,
            "dur": event.duration,
            "args": {"stage": event.stage, "kernel": event.kernel},
        }
        for event in ordered
    ]
    return {"traceEvents": names + complete, "displayTimeUnit": "ms"}


def _metadata(name: str, thread: int, value: str) -> dict[str, Any]:
    return {"ph": "M", "pid": 0, "tid": thread, "name": name, "args": {"name": value}}


def _check(ordered: list[Event]) -> None:
    # Clocks are read in nanoseconds; what is less than that apart does not overlap.
    slack = 1e-3
    for event in ordered:
        if event.start < 0 or event.duration < 0:
            raise ValueError(f"an event begins or lasts less than 0: {event}")
    for before, after in pairwise(ordered):
        if before.thread == after.thread and before.start + before.duration > after.start + slack:
            raise ValueError(f"events of thread {after.thread} overlap: {before} and {after}")
