"""Median of bucket means, DETOX's rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.aggregation.base import AggregationRule
from mlsys_ray.byzshield.aggregation.median import Median


@dataclass(frozen=True)
class MedianOfMeans(AggregationRule):
    """Inputs are averaged in consecutive buckets, then the median is taken over the buckets.

    Attributes:
        bucket_size: inputs per bucket; the last bucket may be smaller. One Byzantine input spoils
            its whole bucket, so size 1 (the plain median) stands most of them.

    Raises:
        ValueError: `bucket_size` is below 1.
    """

    name: ClassVar[str] = "median_of_means"
    bucket_size: int = 2

    def __post_init__(self) -> None:
        if self.bucket_size < 1:
            raise ValueError(f"bucket_size is {self.bucket_size}, must be at least 1")

    def tolerance(self, num_gradients: int) -> int:
        """A minority of the buckets."""
        return (-(-num_gradients // self.bucket_size) - 1) // 2

    def aggregate(self, gradients: np.ndarray) -> np.ndarray:
        """Median of the bucket means of float32 `[n, d]`."""
        starts = np.arange(0, len(gradients), self.bucket_size)
        sizes = np.diff(starts, append=len(gradients)).astype(np.float32)
        means = np.add.reduceat(gradients, starts, axis=0) / sizes[:, None]
        return Median().aggregate(means)
