"""Copies of one honest gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.attacks.base import Adversary, Attack


@dataclass(frozen=True)
class Mimic(Attack):
    """Send the true gradient of one file for all files (Karimireddy et al. 2022).

    Attributes:
        file: the one copied; must be among the f files.

    Raises:
        ValueError: `file` is negative, or, on use, not below f.
    """

    name: ClassVar[str] = "mimic"
    file: int = 0

    def __post_init__(self) -> None:
        if self.file < 0 or self.file != int(self.file):
            raise ValueError(f"file is {self.file}, must be a whole number, at least 0")

    def craft(self, true_gradients: np.ndarray, adversary: Adversary) -> np.ndarray:
        """One vector `[d]` for all files."""
        if self.file >= len(true_gradients):
            raise ValueError(f"file is {self.file}, must be below the {len(true_gradients)} files")
        return true_gradients[int(self.file)]
