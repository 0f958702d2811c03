"""How much memory loads touch, for many loop extents at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from mlsys_ray.value_learning.operators.expression import Index, Load

Counts = NDArray[np.float64]
BYTES = 4
"""Of a value."""


def span(index: Index, extents: Mapping[str, Counts]) -> Counts:
    """`Index.extent` for arrays `[N]` of extents."""
    total: Counts = np.ones_like(next(iter(extents.values())))
    for name, coefficient, divide in index.terms:
        total = total + coefficient * ((extents[name] - 1) // divide)
    if index.modulo:
        total = np.minimum(total, index.modulo)
    return np.minimum(total, index.clamp) if index.clamp else total


def elements(load: Load, extents: Mapping[str, Counts]) -> Counts:
    """Different values that a load reads, `[N]`: the box around them."""
    total: Counts = np.ones_like(next(iter(extents.values())))
    for index in load.indices:
        total = total * span(index, extents)
    return total


def bytes_read(loads: Iterable[Load], extents: Mapping[str, Counts]) -> Counts:
    """Bytes of all loads' boxes, `[N]`; a source that is loaded twice counts once."""
    largest: dict[str, Counts] = {}
    for load in loads:
        size = BYTES * elements(load, extents)
        known = largest.get(load.source)
        largest[load.source] = size if known is None else np.maximum(known, size)
    total: Counts = np.zeros_like(next(iter(extents.values())))
    for size in largest.values():
        total = total + size
    return total
