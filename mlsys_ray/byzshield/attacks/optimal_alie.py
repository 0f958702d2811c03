"""A Little Is Enough with the strength that harms most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.attacks.base import Adversary, Attack
from mlsys_ray.byzshield.attacks.line_search import strongest


@dataclass(frozen=True)
class OptimalAlie(Attack):
    """Send mean + z * standard deviation with z searched against the rule.

    From Shejwalkar and Houmansadr 2021, as in ByzFL.
    """

    name: ClassVar[str] = "optimal_alie"

    def craft(self, true_gradients: np.ndarray, adversary: Adversary) -> np.ndarray:
        """One vector `[d]` for all files."""
        mean = true_gradients.mean(axis=0, dtype=np.float32)
        deviation = true_gradients.std(axis=0, dtype=np.float32)
        return strongest(
            self.name, lambda z: mean + np.float32(z) * deviation, true_gradients, adversary
        )
