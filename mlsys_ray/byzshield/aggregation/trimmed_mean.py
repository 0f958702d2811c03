"""The coordinate-wise trimmed mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.aggregation.base import ToldByzantine
from mlsys_ray.byzshield.aggregation.coordinatewise import CoordinatewiseRule


@dataclass(frozen=True)
class TrimmedMean(ToldByzantine, CoordinatewiseRule):
    """Mean of every coordinate without its c smallest and c largest values."""

    name: ClassVar[str] = "trimmed_mean"
    source: ClassVar[str] = "Yin et al. 2018"
    condition: ClassVar[str] = "n >= 2c + 1"

    def tolerance(self, num_gradients: int) -> int:
        """Every minority."""
        return (num_gradients - 1) // 2

    def compiled(self, num_gradients: int) -> tuple[str, int]:
        """See `CoordinatewiseRule.compiled`."""
        return "trimmed_mean", self.minority(num_gradients)

    def combine_columns(self, columns: np.ndarray) -> np.ndarray:
        """Trimmed mean of float32 `[n, m]`."""
        trimmed = self.minority(len(columns))
        ordered = np.sort(columns, axis=0)
        return ordered[trimmed : len(columns) - trimmed].mean(axis=0, dtype=np.float32)
