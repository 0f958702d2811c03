"""The true gradient, reversed and scaled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.attacks.base import Adversary, Attack


@dataclass(frozen=True)
class ReversedGradient(Attack):
    """Send -c * g instead of g (ByzShield, section 6.1).

    Attributes:
        scale: c > 0; 100 in the authors' code.
    """

    name: ClassVar[str] = "reversed_gradient"
    scale: float = 100.0

    def craft(self, true_gradients: np.ndarray, adversary: Adversary) -> np.ndarray:
        """A vector for each file, `[f, d]`."""
        return np.float32(-self.scale) * true_gradients
