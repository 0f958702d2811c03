"""Nearest neighbour mixing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.aggregation.base import ToldByzantine
from mlsys_ray.byzshield.aggregation.geometry import Points
from mlsys_ray.byzshield.aggregation.preaggregation.base import PreAggregator


@dataclass(frozen=True)
class Nnm(ToldByzantine, PreAggregator):
    """Every input becomes the average of the n - c inputs nearest it, itself among them."""

    name: ClassVar[str] = "nnm"
    source: ClassVar[str] = "Allouah et al. 2023, Fixing by Mixing"

    def num_outputs(self, num_gradients: int) -> int:
        """As many as inputs."""
        return num_gradients

    def mixing(self, points: Points) -> np.ndarray:
        """Equal weights for the nearest of each."""
        n = len(points)
        kept = n - self.minority(n)
        nearest = np.argsort(points.squared_distances, axis=1, kind="stable")[:, :kept]
        mixing = np.zeros((n, n))
        np.put_along_axis(mixing, nearest, 1 / kept, axis=1)
        return mixing
