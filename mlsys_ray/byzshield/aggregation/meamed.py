"""The mean around the median."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.aggregation.base import ToldByzantine
from mlsys_ray.byzshield.aggregation.coordinatewise import CoordinatewiseRule


def mean_nearest_median(columns: np.ndarray, dropped: int) -> np.ndarray:
    """Mean of all but `dropped` values of every column, those nearest its median.

    Of two values equally near the lower one is kept.

    Args:
        columns: float32 `[n, m]`.
        dropped: below n.
    """
    n, kept = len(columns), len(columns) - dropped
    ordered = np.sort(columns, axis=0)
    low, high = (n - 1) // 2, n // 2
    median = ordered[low] if low == high else (ordered[low] + ordered[high]) / 2
    # The nearest values are a window of the ordered ones, which slides up while that helps.
    above, below = ordered[kept:] - median, median - ordered[:dropped]
    start = (above < below).sum(axis=0)
    window = start + np.arange(kept)[:, None]
    return np.take_along_axis(ordered, window, axis=0).mean(axis=0, dtype=np.float32)


@dataclass(frozen=True)
class Meamed(ToldByzantine, CoordinatewiseRule):
    """Mean of the n - c values of every coordinate that lie nearest its median."""

    name: ClassVar[str] = "meamed"
    source: ClassVar[str] = "Xie et al. 2018"
    condition: ClassVar[str] = "n >= 2c + 1"

    def tolerance(self, num_gradients: int) -> int:
        """Every minority."""
        return (num_gradients - 1) // 2

    def compiled(self, num_gradients: int) -> tuple[str, int]:
        """See `CoordinatewiseRule.compiled`."""
        return "nearest_mean", self.minority(num_gradients)

    def combine_columns(self, columns: np.ndarray) -> np.ndarray:
        """Mean around the median of float32 `[n, m]`."""
        return mean_nearest_median(columns, self.minority(len(columns)))
