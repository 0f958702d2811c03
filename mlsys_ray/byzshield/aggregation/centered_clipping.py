"""Centered clipping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.aggregation.geometry import Points
from mlsys_ray.byzshield.aggregation.linear import LinearRule


@dataclass(frozen=True)
class CenteredClipping(LinearRule):
    """Steps from a centre v, at first the origin, by the mean of the clipped differences x_i - v.

    The source starts from the last iteration's aggregate. Rules here keep no state, so whoever
    wants that start u passes the inputs less u and adds u to the result.

    Attributes:
        radius: differences are clipped to this length, tau of the source [gradient units].
        steps: repetitions, L of the source.

    Raises:
        ValueError: `radius` is not positive or `steps` is below 1.
    """

    name: ClassVar[str] = "centered_clipping"
    source: ClassVar[str] = "Karimireddy et al. 2021"
    condition: ClassVar[str] = "n >= 2c + 1"
    radius: float = 100.0
    steps: int = 1

    def __post_init__(self) -> None:
        if not self.radius > 0:
            raise ValueError(f"radius is {self.radius}, must be positive")
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}, must be at least 1")

    def tolerance(self, num_gradients: int) -> int:
        """Every minority: the result is never longer than radius times steps."""
        return (num_gradients - 1) // 2

    def weights(self, points: Points) -> np.ndarray:
        """Weights of the centre after the last step."""
        weights = np.zeros(len(points))
        for _ in range(self.steps):
            lengths = points.distances_from(weights)
            clipped = self.radius / np.maximum(lengths, self.radius)
            weights = weights * (1 - clipped.mean()) + clipped / len(points)
        return weights
