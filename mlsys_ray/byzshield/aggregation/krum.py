"""Krum: the input with the closest neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.aggregation.base import ToldByzantine
from mlsys_ray.byzshield.aggregation.geometry import Points
from mlsys_ray.byzshield.aggregation.linear import LinearRule


def krum_ranking(squared_distances: np.ndarray, num_byzantine: int) -> np.ndarray:
    """Inputs from the best to the worst score; float64 `[n, n]` to intp `[n]`.

    The score is the sum of squared distances to the n - c - 2 nearest others, at least 1. With one
    neighbour the two of a close pair always tie. The one nearer to all inputs then comes first, so
    that their order does not matter.
    """
    n = len(squared_distances)
    neighbours = max(1, n - num_byzantine - 2)
    # The nearest of all is the input itself, at distance 0.
    ordered = np.sort(squared_distances, axis=1)
    return np.lexsort((ordered.sum(axis=1), ordered[:, 1 : neighbours + 1].sum(axis=1)))


@dataclass(frozen=True)
class Krum(ToldByzantine, LinearRule):
    """The one input whose n - c - 2 nearest others are closest to it."""

    name: ClassVar[str] = "krum"
    source: ClassVar[str] = "Blanchard et al. 2017"
    condition: ClassVar[str] = "n >= 2c + 3"

    def tolerance(self, num_gradients: int) -> int:
        """A minority less one input."""
        return max(0, (num_gradients - 3) // 2)

    def weights(self, points: Points) -> np.ndarray:
        """Weight 1 for the best score."""
        ranking = krum_ranking(points.squared_distances, self.num_byzantine)
        return np.eye(len(points))[ranking[0]]
