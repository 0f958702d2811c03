"""Covariance-bound agnostic filter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.aggregation.base import ToldByzantine
from mlsys_ray.byzshield.aggregation.geometry import Points
from mlsys_ray.byzshield.aggregation.linear import LinearRule


@dataclass(frozen=True)
class Caf(ToldByzantine, LinearRule):
    """The weighted mean with the least variance met while down-weighting outliers.

    Each step takes the direction of largest variance around the weighted mean and lowers every
    input's weight by its squared part along it, until n - 2c of weight is left. Directions are
    exact, from the n x n inner products.
    """

    name: ClassVar[str] = "caf"
    source: ClassVar[str] = "Allouah et al. 2025"
    condition: ClassVar[str] = "n >= 2c + 1"

    def tolerance(self, num_gradients: int) -> int:
        """Every minority."""
        return (num_gradients - 1) // 2

    def weights(self, points: Points) -> np.ndarray:
        """Weights of the best mean."""
        n = len(points)
        confidence = np.ones(n)
        best, least = confidence / n, np.inf
        while confidence.sum() > n - 2 * self.minority(n):
            mean = confidence / confidence.sum()
            gram = points.centred_gram(mean)
            # The n x n matrix has the covariance's eigenvalues; its vector u gives the direction
            # v = sum_i sqrt(mean_i) u_i (x_i - z), on which inputs project as gram says.
            root = np.sqrt(mean)
            values, vectors = np.linalg.eigh(root[:, None] * gram * root)
            if values[-1] < least:
                best, least = mean, values[-1]
            spread = (gram @ (root * vectors[:, -1])) ** 2
            # Inputs without weight left must not set the scale, or the others' never falls.
            largest = spread[confidence > 0].max()
            if not largest > 0:
                break
            confidence = confidence * np.maximum(0.0, 1 - spread / largest)
        return best
