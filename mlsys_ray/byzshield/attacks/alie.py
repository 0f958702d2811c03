"""A Little Is Enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import ndtri

from mlsys_ray.byzshield.attacks.base import Adversary, Attack


def alie_z(num_workers: int, num_byzantine: int) -> float:
    """z_max = Phi^-1((n - m - s) / (n - m)), s = floor(n/2 + 1) - m (Baruch et al. 2019, Alg. 3).

    Never below 0, which it would be where the Byzantine workers are a majority.

    >>> round(alie_z(50, 12), 3)
    0.336
    """
    honest = num_workers - num_byzantine
    supporters = num_workers // 2 + 1 - num_byzantine
    if supporters <= 0:
        return 0.0
    return max(0.0, float(ndtri((honest - supporters) / honest)))


@dataclass(frozen=True)
class Alie(Attack):
    """Send mean + z * standard deviation in every coordinate (Baruch et al. 2019).

    Attributes:
        z: standard deviations away from the mean; None takes z_max of K workers and q Byzantine.
    """

    name: ClassVar[str] = "alie"
    z: float | None = None

    def craft(self, true_gradients: np.ndarray, adversary: Adversary) -> np.ndarray:
        """One vector `[d]` for all files; mean and (population) deviation over the files."""
        z = self.z
        if z is None:
            z = alie_z(adversary.assignment.num_workers, len(adversary.byzantine))
        mean = true_gradients.mean(axis=0, dtype=np.float32)
        return mean + np.float32(z) * true_gradients.std(axis=0, dtype=np.float32)
