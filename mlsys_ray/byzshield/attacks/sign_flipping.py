"""The mean gradient with its sign flipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.attacks.base import Adversary, Attack


@dataclass(frozen=True)
class SignFlipping(Attack):
    """Send minus the mean of the gradients (Allen-Zhu et al. 2020; ByzFL's definition).

    Minus each file's own gradient is `reversed_gradient` with scale 1.
    """

    name: ClassVar[str] = "sign_flipping"

    def craft(self, true_gradients: np.ndarray, adversary: Adversary) -> np.ndarray:
        """One vector `[d]` for all files."""
        return -true_gradients.mean(axis=0, dtype=np.float32)
