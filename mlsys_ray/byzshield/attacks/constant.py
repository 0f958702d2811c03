"""Every coordinate the same constant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.attacks.base import Adversary, Attack


@dataclass(frozen=True)
class Constant(Attack):
    """Send one constant in every coordinate (ByzShield, section 6.1).

    Attributes:
        value: the constant; -100 in the authors' code.
    """

    name: ClassVar[str] = "constant"
    value: float = -100.0

    def craft(self, true_gradients: np.ndarray, adversary: Adversary) -> np.ndarray:
        """One vector `[d]` for all files."""
        return np.full(true_gradients.shape[1], self.value, dtype=np.float32)
