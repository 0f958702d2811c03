"""Random noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.attacks.base import Adversary, Attack


@dataclass(frozen=True)
class Gaussian(Attack):
    """Send one draw of centred Gaussian noise, the same from all colluders, new every iteration.

    Attributes:
        deviation: standard deviation of a coordinate; 1 in ByzFL.

    Raises:
        ValueError: `deviation` is negative.
    """

    name: ClassVar[str] = "gaussian"
    deviation: float = 1.0

    def __post_init__(self) -> None:
        if self.deviation < 0:
            raise ValueError(f"deviation is {self.deviation}, must be at least 0")

    def craft(self, true_gradients: np.ndarray, adversary: Adversary) -> np.ndarray:
        """One vector `[d]` for all files."""
        draw = np.random.default_rng([adversary.seed, adversary.iteration])
        noise = draw.standard_normal((true_gradients.shape[1],), dtype=np.float32)
        return np.float32(self.deviation) * noise
