"""Clipping to a given norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.aggregation.geometry import Points
from mlsys_ray.byzshield.aggregation.preaggregation.base import PreAggregator


def clip_to(points: Points, length: float) -> np.ndarray:
    """Weights that shorten every input to at most `length`."""
    norms = np.sqrt(points.squared_norms)
    shortened = norms > length
    return np.diag(np.where(shortened, length / np.where(shortened, norms, 1.0), 1.0))


@dataclass(frozen=True)
class Clipping(PreAggregator):
    """Inputs longer than a radius are shortened to it.

    Attributes:
        radius: the largest norm left [gradient units].

    Raises:
        ValueError: `radius` is not positive.
    """

    name: ClassVar[str] = "clipping"
    source: ClassVar[str] = "static clipping, as Allouah et al. 2024 (arXiv:2405.14432) compare it"
    radius: float = 2.0

    def __post_init__(self) -> None:
        if not self.radius > 0:
            raise ValueError(f"radius is {self.radius}, must be positive")

    def num_outputs(self, num_gradients: int) -> int:
        """As many as inputs."""
        return num_gradients

    def mixing(self, points: Points) -> np.ndarray:
        """A factor for each."""
        return clip_to(points, self.radius)
