"""What an attack knows and returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from mlsys_ray.byzshield.aggregation.base import AggregationRule
from mlsys_ray.byzshield.assignment.base import Assignment

if TYPE_CHECKING:
    from mlsys_ray.byzshield.config import AttackedFiles


@dataclass(frozen=True)
class Adversary:
    """The colluding, omniscient adversary: it knows the assignment, the model and the data.

    Attributes:
        assignment: the code in use.
        byzantine: sorted workers under its control.
        rule: how the server combines the votes; needed by attacks that search for the worst.
        seed: of random attacks.
        iteration: of the training run; with the seed, all randomness there is.
        attacks: which of its files a Byzantine worker lies on: all that it holds (ATT-1 of Aspis);
            those on which Byzantine workers have the majority, the others would give them away
            (ATT-3); or, to frame as many honest workers, those of them whose honest holders are
            all among the first q of these (ATT-2).
    """

    assignment: Assignment
    byzantine: tuple[int, ...]
    rule: AggregationRule | None = None
    seed: int = 0
    iteration: int = 0
    attacks: AttackedFiles = "held"

    def attacked_files(self) -> np.ndarray:
        """Mask bool `[f]` of the files on which Byzantine holders lie."""
        matrix, byzantine = self.assignment.biadjacency, list(self.byzantine)
        if self.attacks == "held":
            return np.any(matrix[byzantine], axis=0)
        won = self.assignment.distorted_by(byzantine)
        if self.attacks == "majority":
            return won
        honest = np.delete(np.arange(len(matrix)), byzantine)
        return won & ~np.any(matrix[honest[len(byzantine) :]], axis=0)

    def distorted_files(self) -> np.ndarray:
        """Mask bool `[f]` of the files that the attack wins by majority."""
        attacked = self.attacked_files()
        return attacked & self.assignment.distorted_by(self.byzantine)


class Attack(ABC):
    """Turns the true gradients of an iteration into what Byzantine workers send.

    An attack is a small immutable value and a pure function of its input, so that colluders in
    different processes send the same bits without talking.
    """

    name: ClassVar[str]
    flips_labels: ClassVar[bool] = False
    """Byzantine workers compute the gradients they give to `craft` on labels from `flip_labels`."""

    @abstractmethod
    def craft(self, true_gradients: np.ndarray, adversary: Adversary) -> np.ndarray:
        """Return float32 broadcastable to `[f, d]`, the vector sent for each file.

        Args:
            true_gradients: float32 `[f, d]`, one row per file; not changed.
            adversary: what it knows besides.
        """
