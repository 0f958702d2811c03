"""Compilation of the hot loops by numba, cached on disk."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit


def _digest(folder: Path) -> int:
    """A checksum of the sources in a folder."""
    return zlib.crc32(b"".join(file.read_bytes() for file in sorted(folder.rglob("*.py"))))


_PACKAGE = Path(__file__).parent
_STAMP = (_digest(_PACKAGE), _digest(_PACKAGE.parent / "envs"))


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit` with a cache that knows all sources.

    numba renews what it has cached of a function when that function's own file changes, but not
    when a function that it calls changes in another file; the old code would run on.

    Args:
        options: of `njit`, such as `nogil` and `fastmath`.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = njit(cache=True, **options)(function)
        dispatcher._cache._cache_file._source_stamp = _STAMP
        return dispatcher

    return decorate
