"""MoNNA: the average of the inputs nearest a trusted one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.aggregation.base import ToldByzantine
from mlsys_ray.byzshield.aggregation.geometry import Points
from mlsys_ray.byzshield.aggregation.linear import LinearRule


@dataclass(frozen=True)
class Monna(ToldByzantine, LinearRule):
    """Average of the n - c inputs nearest the first one, which must be honest.

    The source has peers without a server, each of which trusts its own gradient. A server has none,
    so put one it computed itself first; where the first input may be Byzantine this rule stands
    nothing.
    """

    name: ClassVar[str] = "monna"
    source: ClassVar[str] = "Farhadkhani et al. 2023"
    condition: ClassVar[str] = "n >= 2c + 1, the first input honest"

    def tolerance(self, num_gradients: int) -> int:
        """Every minority without the first input."""
        return (num_gradients - 1) // 2

    def weights(self, points: Points) -> np.ndarray:
        """Equal weights for the nearest."""
        count = len(points) - self.minority(len(points))
        nearest = np.argsort(points.squared_distances[0], kind="stable")[:count]
        weights = np.zeros(len(points))
        weights[nearest] = 1 / count
        return weights
