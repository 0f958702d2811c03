"""Multi-Krum: the average of the inputs with the best Krum scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.aggregation.base import ToldByzantine
from mlsys_ray.byzshield.aggregation.geometry import Points
from mlsys_ray.byzshield.aggregation.krum import krum_ranking
from mlsys_ray.byzshield.aggregation.linear import LinearRule


@dataclass(frozen=True)
class MultiKrum(ToldByzantine, LinearRule):
    """Average of the m inputs with the best Krum scores.

    Attributes:
        num_byzantine: c.
        num_selected: m; None takes n - c, as the paper's experiments.

    Raises:
        ValueError: `num_selected` is below 1.
    """

    name: ClassVar[str] = "multi_krum"
    source: ClassVar[str] = "Blanchard et al. 2017"
    condition: ClassVar[str] = "n >= 2c + 3"
    num_selected: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_selected is not None and self.num_selected < 1:
            raise ValueError(f"num_selected is {self.num_selected}, must be at least 1")

    def tolerance(self, num_gradients: int) -> int:
        """A minority less one input."""
        return max(0, (num_gradients - 3) // 2)

    def weights(self, points: Points) -> np.ndarray:
        """Equal weights for the best scores."""
        selected = self.num_selected or len(points) - self.minority(len(points))
        best = krum_ranking(points.squared_distances, self.num_byzantine)[:selected]
        weights = np.zeros(len(points))
        weights[best] = 1 / len(best)
        return weights
