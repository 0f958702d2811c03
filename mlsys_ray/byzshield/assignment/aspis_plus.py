"""Steiner triple systems, the assignment of Aspis+."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from mlsys_ray.byzshield.assignment.base import Assignment

Triple = tuple[int, int, int]


def aspis_plus(num_workers: int) -> Assignment:
    """Blocks of a 2-(K, 3, 1) design: f = K (K - 1) / 6, l = (K - 1) / 2, r = 3.

    Any two workers share exactly one file. For K = 7 it is the Fano plane. Workers take other
    places in the design each iteration (Konstantinidis et al. 2023, Aspis+), so that liars soon
    disagree with many.

    Raises:
        ValueError: `num_workers` is below 7, or neither 1 nor 3 modulo 6.
    """
    if num_workers < 7 or num_workers % 6 not in (1, 3):
        raise ValueError(
            f"aspis_plus: num_workers is {num_workers}, must be at least 7 and leave 1 or 3 when"
            " divided by 6, because only then triples can meet every pair once"
        )
    triples = _bose(num_workers) if num_workers % 6 == 3 else _skolem(num_workers)
    blocks = np.array(sorted(tuple(sorted(triple)) for triple in triples))
    matrix = np.zeros((num_workers, len(blocks)), dtype=bool)
    matrix[blocks.T, np.arange(len(blocks))] = True
    return Assignment("aspis_plus", matrix, moves=True)


def _bose(v: int) -> Iterator[Triple]:
    """Triples for v = 6 n + 3, points (x, level) with x modulo 2 n + 1 (Bose 1939)."""
    size = v // 3
    half = (size + 1) // 2
    for x in range(size):
        yield x, size + x, 2 * size + x
    for x, y in combinations(range(size), 2):
        middle = (x + y) * half % size
        for level in range(3):
            yield _point(x, level, size), _point(y, level, size), _point(middle, level + 1, size)


def _skolem(v: int) -> Iterator[Triple]:
    """Triples for v = 6 n + 1, points (x, level) with x modulo 2 n, and one more (Skolem 1958)."""
    size, infinity = v // 3, v - 1
    half = size // 2
    for x in range(half):
        yield x, size + x, 2 * size + x
        for level in range(3):
            yield infinity, _point(half + x, level, size), _point(x, level + 1, size)
    for x, y in combinations(range(size), 2):
        total = (x + y) % size
        middle = total // 2 + (half if total % 2 else 0)
        for level in range(3):
            yield _point(x, level, size), _point(y, level, size), _point(middle, level + 1, size)


def _point(x: int, level: int, size: int) -> int:
    return level % 3 * size + x
