"""What an attack knows and returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.assignment.base import Assignment


@dataclass(frozen=True)
class Adversary:
    """The colluding, omniscient adversary: it knows the assignment, the model and the data.

    Attributes:
        assignment: the code in use.
        byzantine: sorted workers under its control.
    """

    assignment: Assignment
    byzantine: tuple[int, ...]


class Attack(ABC):
    """Turns the true gradients of an iteration into what Byzantine workers send.

    An attack is a small immutable value and a pure function of its input, so that colluders in
    different processes send the same bits without talking.
    """

    name: ClassVar[str]

    @abstractmethod
    def craft(self, true_gradients: np.ndarray, adversary: Adversary) -> np.ndarray:
        """Return float32 broadcastable to `[f, d]`, the vector sent for each file.

        Args:
            true_gradients: float32 `[f, d]`, one row per file; not changed.
            adversary: what it knows besides.
        """
