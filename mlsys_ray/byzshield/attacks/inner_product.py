"""Inner product manipulation, also called Fall of Empires."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.attacks.base import Adversary, Attack


@dataclass(frozen=True)
class InnerProductManipulation(Attack):
    """Send -scale * mean of the gradients (Xie et al. 2020).

    Attributes:
        scale: 2 in ByzFL.
    """

    name: ClassVar[str] = "ipm"
    scale: float = 2.0

    def craft(self, true_gradients: np.ndarray, adversary: Adversary) -> np.ndarray:
        """One vector `[d]` for all files."""
        return np.float32(-self.scale) * true_gradients.mean(axis=0, dtype=np.float32)


@dataclass(frozen=True)
class FallOfEmpires(InnerProductManipulation):
    """The same as ByzShield's authors use it.

    Attributes:
        scale: 100 in their code.
    """

    name: ClassVar[str] = "foe"
    scale: float = 100.0
