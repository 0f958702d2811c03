"""What a robust aggregation rule is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np


class AggregationRule(ABC):
    """Maps the votes of an iteration to one gradient.

    A rule is a small immutable value. It sees finite float32 inputs only: the server screens what
    workers send before the vote.
    """

    name: ClassVar[str]

    @abstractmethod
    def tolerance(self, num_gradients: int) -> int:
        """Byzantine inputs among `num_gradients` that the rule stands."""

    @abstractmethod
    def aggregate(self, gradients: np.ndarray) -> np.ndarray:
        """Combine float32 `[n, d]`, n >= 1, into a new float32 `[d]`; the input is not changed."""
