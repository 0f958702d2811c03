"""The geometric median."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.aggregation.geometry import Points
from mlsys_ray.byzshield.aggregation.linear import LinearRule

_CONVERGED = 1e-10


@dataclass(frozen=True)
class GeometricMedian(LinearRule):
    """The point with the least sum of distances to the inputs, by smoothed Weiszfeld steps.

    The steps run on the n weights instead of the d coordinates, so that they cost nothing beside
    the two passes over the inputs.

    Attributes:
        smoothing: distances below this count as this, nu of the source [gradient units]. Inputs
            within it of one another are averaged, so it must be far below their spread.
        steps: at most so many; fewer once the weights stand still.

    Raises:
        ValueError: `smoothing` is not positive or `steps` is below 1.
    """

    name: ClassVar[str] = "geometric_median"
    source: ClassVar[str] = "Pillutla et al. 2022 (RFA)"
    condition: ClassVar[str] = "n >= 2c + 1"
    smoothing: float = 1e-6
    steps: int = 100

    def __post_init__(self) -> None:
        if not self.smoothing > 0:
            raise ValueError(f"smoothing is {self.smoothing}, must be positive")
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}, must be at least 1")

    def tolerance(self, num_gradients: int) -> int:
        """Every minority."""
        return (num_gradients - 1) // 2

    def weights(self, points: Points) -> np.ndarray:
        """Weiszfeld's weights, starting at the origin."""
        weights = np.zeros(len(points))
        for _ in range(self.steps):
            closeness = 1 / np.maximum(points.distances_from(weights), self.smoothing)
            previous, weights = weights, closeness / closeness.sum()
            if np.abs(weights - previous).max() < _CONVERGED:
                break
        return weights
