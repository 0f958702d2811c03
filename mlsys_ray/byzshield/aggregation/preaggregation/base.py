"""What happens to the inputs before a rule sees them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Self

import numpy as np

from mlsys_ray.byzshield.aggregation.geometry import Points


class PreAggregator(ABC):
    """Replaces n inputs by m weighted sums of them, with weights from their distances.

    A small immutable value, like a rule. As all are weighted sums, a rule behind it needs no copy
    of the inputs: distances of the sums follow from distances of the inputs.
    """

    name: ClassVar[str]
    source: ClassVar[str]

    @property
    def num_byzantine(self) -> int:
        """Byzantine inputs c that it reckons with; 0 where it need not know."""
        return 0

    def with_byzantine(self, num_byzantine: int) -> Self:
        """The pre-aggregator told c; itself where it need not know."""
        return self

    @abstractmethod
    def num_outputs(self, num_gradients: int) -> int:
        """m, the inputs of the rule behind."""

    @abstractmethod
    def mixing(self, points: Points) -> np.ndarray:
        """Weights of the n inputs in each of the m outputs, float64 `[m, n]`."""
