"""Infinite gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.attacks.base import Adversary, Attack


@dataclass(frozen=True)
class Inf(Attack):
    """Send an infinity in every coordinate."""

    name: ClassVar[str] = "inf"

    def craft(self, true_gradients: np.ndarray, adversary: Adversary) -> np.ndarray:
        """One vector `[d]` for all files."""
        return np.full(true_gradients.shape[1], np.inf, dtype=np.float32)
