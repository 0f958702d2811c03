"""What an attack knows and returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.aggregation.base import AggregationRule
from mlsys_ray.byzshield.assignment.base import Assignment


@dataclass(frozen=True)
class Adversary:
    """The colluding, omniscient adversary: it knows the assignment, the model and the data.

    Attributes:
        assignment: the code in use.
        byzantine: sorted workers under its control.
        rule: how the server combines the votes; needed by attacks that search for the worst.
        seed: of random attacks.
        iteration: of the training run; with the seed, all randomness there is.
        disguise: attack only where it cannot be told who lies.
    """

    assignment: Assignment
    byzantine: tuple[int, ...]
    rule: AggregationRule | None = None
    seed: int = 0
    iteration: int = 0
    disguise: bool = False

    def attacked_files(self) -> np.ndarray:
        """Mask bool `[f]` of the files whose Byzantine copies are false: all, unless in disguise.

        In disguise they side against as many honest workers, and attack the files that are held
        by both groups alone and that they win: with everybody else they agree, so that either
        group may be the liars (ATT-2 of Aspis, section III-B).
        """
        if not self.disguise:
            return np.ones(self.assignment.num_files, dtype=bool)
        byzantine = set(self.byzantine)
        honest = [w for w in range(self.assignment.num_workers) if w not in byzantine]
        outsiders = honest[len(byzantine) :]
        held_outside = self.assignment.biadjacency[outsiders].any(axis=0)
        return self.assignment.distorted_by(self.byzantine) & ~held_outside

    def distorted_files(self) -> np.ndarray:
        """Mask bool `[f]` of the files that the attack wins by majority."""
        return self.assignment.distorted_by(self.byzantine) & self.attacked_files()


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
