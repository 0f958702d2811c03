"""Majority vote over signs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.aggregation.coordinatewise import CoordinatewiseRule


@dataclass(frozen=True)
class SignSgd(CoordinatewiseRule):
    """The sign, -1, 0 or 1, that most inputs have in a coordinate; 0 where they are even."""

    name: ClassVar[str] = "signsgd"
    source: ClassVar[str] = "Bernstein et al. 2019"
    condition: ClassVar[str] = "n >= 2c + 1"

    def tolerance(self, num_gradients: int) -> int:
        """Every minority."""
        return (num_gradients - 1) // 2

    def compiled(self, num_gradients: int) -> tuple[str, int]:
        """See `CoordinatewiseRule.compiled`."""
        return "majority_sign", 0

    def combine_columns(self, columns: np.ndarray) -> np.ndarray:
        """Majority sign of float32 `[n, m]`."""
        return np.sign(np.sign(columns).sum(axis=0))
