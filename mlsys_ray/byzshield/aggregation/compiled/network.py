"""Sorting networks, cut down to the outputs that are wanted."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple


class Comparator(NamedTuple):
    """Puts the smaller of two wires on `low` and the larger on `high`, where somebody reads it."""

    low: int
    high: int
    keeps_low: bool
    keeps_high: bool


def sorting_network(num_wires: int) -> list[tuple[int, int]]:
    """Batcher's odd-even merge sort for any number of wires (Knuth, vol. 3, 5.2.2 M)."""
    span = 1 << max(0, num_wires - 1).bit_length()
    network = []
    p = 1
    while p < span:
        k = p
        while k >= 1:
            for start in range(k % p, span - k, 2 * k):
                for low in range(start, min(start + k, num_wires - k)):
                    if low // (2 * p) == (low + k) // (2 * p):
                        network.append((low, low + k))
            k //= 2
        p *= 2
    return network


def selection_network(num_wires: int, wanted: Collection[int]) -> list[Comparator]:
    """The sorting network without what the `wanted` output wires do not depend on.

    >>> len(sorting_network(25)), len(selection_network(25, [12]))
    (140, 113)
    """
    needed = set(wanted)
    kept = []
    for low, high in reversed(sorting_network(num_wires)):
        if low in needed or high in needed:
            kept.append(Comparator(low, high, low in needed, high in needed))
            needed |= {low, high}
    return kept[::-1]
