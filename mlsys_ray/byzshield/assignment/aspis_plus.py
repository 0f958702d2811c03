"""Steiner triple systems, the assignment of Aspis+."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mlsys_ray.byzshield.assignment.base import Assignment


def aspis_plus(num_workers: int) -> Assignment:
    """One file for each block of a 2-(K, 3, 1) design: f = K (K-1) / 6, l = (K-1) / 2, r = 3.

    Any two workers share exactly one file (Konstantinidis and Ramamoorthy 2023, section V). The
    designs are those of Bose (1939) for K = 3 mod 6 and Skolem (1958) for K = 1 mod 6; K = 7 is
    the Fano plane.

    Raises:
        ValueError: there is no such design for `num_workers`, or it is below 7.
    """
    if num_workers < 7 or num_workers % 6 not in (1, 3):
        raise ValueError(
            f"aspis_plus: num_workers is {num_workers}, must be 1 or 3 modulo 6 and at least 7, or"
            " no Steiner triple system has that many points"
        )
    blocks = list(_bose(num_workers) if num_workers % 6 == 3 else _skolem(num_workers))
    matrix = np.zeros((num_workers, len(blocks)), dtype=bool)
    for file, block in enumerate(blocks):
        matrix[list(block), file] = True
    return Assignment("aspis_plus", matrix)


def _bose(num_points: int) -> Iterator[tuple[int, int, int]]:
    """Points (x, k) of Z_m x Z_3 with m = K/3 odd; x * y = (x + y) / 2 is idempotent."""
    m = num_points // 3
    half = (m + 1) // 2
    for x in range(m):
        yield x, m + x, 2 * m + x
    for k in range(3):
        after = (k + 1) % 3
        for x in range(m):
            for y in range(x):
                yield k * m + x, k * m + y, after * m + (x + y) * half % m


def _skolem(num_points: int) -> Iterator[tuple[int, int, int]]:
    """Points (x, k) of Z_m x Z_3 with m = (K-1)/3 even, and one at infinity.

    x * y is s/2 for even s = x + y mod m and (s + m - 1) / 2 for odd s: half-idempotent.
    """
    m = (num_points - 1) // 3
    infinity = num_points - 1

    def times(x: int, y: int) -> int:
        s = (x + y) % m
        return s // 2 if s % 2 == 0 else (s + m - 1) // 2

    for x in range(m // 2):
        yield x, m + x, 2 * m + x
    for k in range(3):
        after = (k + 1) % 3
        for x in range(m // 2):
            yield infinity, k * m + m // 2 + x, after * m + x
        for x in range(m):
            for y in range(x):
                yield k * m + x, k * m + y, after * m + times(x, y)
