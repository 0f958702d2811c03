"""Gradients on wrong labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.attacks.base import Adversary, Attack


def flip_labels(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Label y becomes C - 1 - y (Tolpegin et al. 2020, as in ByzFL); same shape and dtype."""
    return num_classes - 1 - labels


@dataclass(frozen=True)
class LabelFlipping(Attack):
    """Send the gradient of each file with its labels flipped.

    The attack is on the data: `flips_labels` tells the worker to compute its gradients on
    `flip_labels(labels)`, and `craft` sends them as they are.
    """

    name: ClassVar[str] = "label_flipping"
    flips_labels: ClassVar[bool] = True

    def craft(self, true_gradients: np.ndarray, adversary: Adversary) -> np.ndarray:
        """The gradients `[f, d]`, which are on flipped labels already."""
        return true_gradients
