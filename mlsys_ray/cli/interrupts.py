"""Ctrl-C as a wish to have what is there so far."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from mlsys_ray.cli.console import say


@contextmanager
def stop_on_interrupt(meaning: str) -> Iterator[Callable[[], bool]]:
    """Inside, a first Ctrl-C is only noted; a second one ends the command as usual.

    Args:
        meaning: said at the first one: what happens now.

    Yields:
        Whether there was one.
    """
    asked = False

    def note(_: int, __: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        say(f"stopping: {meaning}; Ctrl-C again ends at once")

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
