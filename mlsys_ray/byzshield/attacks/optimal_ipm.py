"""Inner product manipulation with the strength that harms most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.attacks.base import Adversary, Attack
from mlsys_ray.byzshield.attacks.line_search import strongest


@dataclass(frozen=True)
class OptimalInnerProductManipulation(Attack):
    """Send -scale * mean with the scale searched against the rule.

    From Shejwalkar and Houmansadr 2021, as in ByzFL.
    """

    name: ClassVar[str] = "optimal_ipm"

    def craft(self, true_gradients: np.ndarray, adversary: Adversary) -> np.ndarray:
        """One vector `[d]` for all files."""
        mean = true_gradients.mean(axis=0, dtype=np.float32)
        return strongest(self.name, lambda z: np.float32(-z) * mean, true_gradients, adversary)
