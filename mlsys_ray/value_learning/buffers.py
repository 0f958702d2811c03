"""Where the arguments of a kernel lie in memory, which moves runtimes by tens of percent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LINE, PAGE = 64, 4096
"""Bytes of a cache line and of a page."""


def placed(arrays: Sequence[np.ndarray], variant: int = 0) -> list[np.ndarray]:
    """Copies that begin with a cache line, each at another place of a page.

    Whole vectors then never span two lines, and arrays that are walked through together do not
    compete for the same places of a cache.

    Args:
        arrays: to copy.
        variant: of the places.
    """
    return [_copy(array, LINE * (place * (5 + 4 * variant))) for place, array in enumerate(arrays)]


def _copy(array: np.ndarray, offset: int) -> np.ndarray:
    memory = np.empty(array.nbytes + 2 * PAGE, np.uint8)
    begin = -memory.ctypes.data % PAGE + offset % PAGE
    copy = memory[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
