"""Averages of random buckets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.aggregation.geometry import Points
from mlsys_ray.byzshield.aggregation.preaggregation.base import PreAggregator


def bucket_means(order: np.ndarray, bucket_size: int) -> np.ndarray:
    """Weights that average consecutive members of `order`, the last bucket may be smaller."""
    n = len(order)
    mixing = np.zeros((-(-n // bucket_size), n))
    mixing[np.arange(n) // bucket_size, order] = 1
    return mixing / mixing.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Bucketing(PreAggregator):
    """Inputs are averaged in buckets drawn at random.

    The source draws anew in every iteration. A rule keeps no state, so the draw depends on the
    seed and on the inputs' norms; the same inputs always fall into the same buckets.

    Attributes:
        bucket_size: inputs per bucket, s of the source; the last bucket may be smaller.
        seed: of the draw.

    Raises:
        ValueError: `bucket_size` is below 1.
    """

    name: ClassVar[str] = "bucketing"
    source: ClassVar[str] = "Karimireddy et al. 2022"
    bucket_size: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.bucket_size < 1:
            raise ValueError(f"bucket_size is {self.bucket_size}, must be at least 1")

    def num_outputs(self, num_gradients: int) -> int:
        """As many as buckets; one Byzantine input spoils its whole bucket."""
        return -(-num_gradients // self.bucket_size)

    def mixing(self, points: Points) -> np.ndarray:
        """Equal weights inside each bucket."""
        draw = np.random.default_rng([self.seed, *points.squared_norms.view(np.uint64).tolist()])
        return bucket_means(draw.permutation(len(points)), self.bucket_size)
