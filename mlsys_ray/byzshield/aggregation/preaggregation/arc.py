"""Adaptive robust clipping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.aggregation.base import ToldByzantine
from mlsys_ray.byzshield.aggregation.geometry import Points
from mlsys_ray.byzshield.aggregation.preaggregation.base import PreAggregator
from mlsys_ray.byzshield.aggregation.preaggregation.clipping import clip_to


@dataclass(frozen=True)
class Arc(ToldByzantine, PreAggregator):
    """The floor(2 c (n - c) / n) longest inputs are shortened to the next longest one's norm."""

    name: ClassVar[str] = "arc"
    source: ClassVar[str] = "Allouah et al. 2024 (arXiv:2405.14432)"

    def num_outputs(self, num_gradients: int) -> int:
        """As many as inputs."""
        return num_gradients

    def mixing(self, points: Points) -> np.ndarray:
        """A factor for each."""
        n, c = len(points), self.minority(len(points))
        num_clipped = 2 * c * (n - c) // n
        longest_left = np.sort(points.squared_norms)[n - num_clipped - 1]
        return clip_to(points, float(np.sqrt(longest_left)))
