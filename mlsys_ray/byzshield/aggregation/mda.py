"""Minimum diameter averaging."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.aggregation.base import ToldByzantine
from mlsys_ray.byzshield.aggregation.geometry import Points
from mlsys_ray.byzshield.aggregation.linear import LinearRule


@dataclass(frozen=True)
class Mda(ToldByzantine, LinearRule):
    """Average of the n - c inputs with the least diameter; of several such sets the first.

    A set of n - c inputs has diameter t or less if the c others cover all pairs farther apart than
    t. Such a cover is found by branching c times, and the least t by bisection, so that no sets
    need be enumerated.
    """

    name: ClassVar[str] = "mda"
    source: ClassVar[str] = "El Mhamdi et al. 2020"
    condition: ClassVar[str] = "n >= 2c + 1"

    def tolerance(self, num_gradients: int) -> int:
        """Every minority."""
        return (num_gradients - 1) // 2

    def weights(self, points: Points) -> np.ndarray:
        """Equal weights for the chosen set."""
        kept = smallest_diameter(points.squared_distances, self.minority(len(points)))
        weights = np.zeros(len(points))
        weights[kept] = 1 / len(kept)
        return weights


def smallest_diameter(distances: np.ndarray, dropped: int) -> list[int]:
    """The n - `dropped` members with the least diameter, lexicographically first; from `[n, n]`."""
    n = len(distances)
    candidates = np.unique(distances)
    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high) // 2
        if _first_clique(_conflicts(distances, candidates[middle]), dropped) is None:
            low = middle + 1
        else:
            high = middle
    kept = _first_clique(_conflicts(distances, candidates[high]), dropped)
    assert kept is not None
    return [i for i in range(n) if kept >> i & 1][: n - dropped]


def _conflicts(distances: np.ndarray, diameter: float) -> list[int]:
    """For every member a bit set of those farther away than `diameter`."""
    return [sum(1 << int(j) for j in np.flatnonzero(row > diameter)) for row in distances]


def _first_clique(conflicts: list[int], dropped: int) -> int | None:
    """The first bit set without conflicts after dropping at most so many; None without one."""

    def search(left: int, decided: int, budget: int) -> int | None:
        if budget < 0:
            return None
        for member in range(decided, len(conflicts)):
            rivals = conflicts[member] & left if left >> member & 1 else 0
            if rivals:
                without_rivals = search(left & ~rivals, member + 1, budget - rivals.bit_count())
                if without_rivals is not None:
                    return without_rivals
                return search(left & ~(1 << member), member + 1, budget - 1)
        return left

    return search((1 << len(conflicts)) - 1, 0, dropped)
