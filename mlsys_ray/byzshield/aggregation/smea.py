"""Smallest maximum eigenvalue averaging."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, islice
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.aggregation.base import ToldByzantine
from mlsys_ray.byzshield.aggregation.geometry import Points
from mlsys_ray.byzshield.aggregation.linear import LinearRule

_BATCH = 4096


@dataclass(frozen=True)
class Smea(ToldByzantine, LinearRule):
    """Average of the n - c inputs whose covariance has the least largest eigenvalue.

    All sets are tried, from their n x n distances: seconds for 25 choose 5, and out of reach much
    beyond.
    """

    name: ClassVar[str] = "smea"
    source: ClassVar[str] = "Allouah et al. 2023, Privacy-Robustness-Utility Trilemma"
    condition: ClassVar[str] = "n >= 2c + 1"

    def tolerance(self, num_gradients: int) -> int:
        """Every minority."""
        return (num_gradients - 1) // 2

    def weights(self, points: Points) -> np.ndarray:
        """Equal weights for the best set, the first of several."""
        n = len(points)
        kept = n - self.minority(n)
        best, least = np.arange(kept), np.inf
        remaining = combinations(range(n), kept)
        while batch := list(islice(remaining, _BATCH)):
            sets = np.array(batch)
            largest = _largest_variances(points.squared_distances, sets)
            if largest.min() < least:
                best, least = sets[largest.argmin()], largest.min()
        weights = np.zeros(n)
        weights[best] = 1 / kept
        return weights


def _largest_variances(squared_distances: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """Largest eigenvalue of the scatter of each set; intp `[b, k]` to `[b]`."""
    among = squared_distances[sets[:, :, None], sets[:, None, :]]
    rows = among.mean(axis=2, keepdims=True)
    centred = (rows + rows.transpose(0, 2, 1) - among - rows.mean(axis=1, keepdims=True)) / 2
    return np.linalg.eigvalsh(centred)[:, -1]
