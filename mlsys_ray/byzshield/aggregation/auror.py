"""Clustering of every coordinate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.aggregation.coordinatewise import CoordinatewiseRule


@dataclass(frozen=True)
class Auror(CoordinatewiseRule):
    """Mean of the larger of the two clusters of a coordinate's values, if they lie far apart.

    The clusters are the exact 2-means of the values. Two Byzantine inputs on opposite sides of a
    coordinate already defeat it: one of them shares a cluster with the honest ones.

    Attributes:
        threshold: the smaller cluster is dropped where the centres are farther apart than this
            [gradient units].

    Raises:
        ValueError: `threshold` is negative.
    """

    name: ClassVar[str] = "auror"
    source: ClassVar[str] = "Shen et al. 2016, its clustering done in every coordinate"
    condition: ClassVar[str] = "n >= 3 and c <= 1"
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if self.threshold < 0:
            raise ValueError(f"threshold is {self.threshold}, must be at least 0")

    def tolerance(self, num_gradients: int) -> int:
        """One, among three or more."""
        return min(1, (num_gradients - 1) // 2)

    def combine_columns(self, columns: np.ndarray) -> np.ndarray:
        """Clustered mean of float32 `[n, m]`."""
        n = len(columns)
        if n == 1:
            return columns[0].copy()
        ordered = np.sort(columns, axis=0).astype(np.float64)
        sums = ordered.cumsum(axis=0)
        lower = np.arange(1, n)[:, None]
        low, high = sums[:-1] / lower, (sums[-1] - sums[:-1]) / (n - lower)
        # The least squares within clusters are the most between them: n1 n2 (m2 - m1)^2.
        split = (lower * (n - lower) * (high - low) ** 2).argmax(axis=0)[None]
        low, high = np.take_along_axis(low, split, 0)[0], np.take_along_axis(high, split, 0)[0]
        larger = np.where(2 * (split[0] + 1) >= n, low, high)
        return np.where(high - low > self.threshold, larger, sums[-1] / n).astype(np.float32)
