"""Median of bucket means, DETOX's rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.aggregation.coordinatewise import CoordinatewiseRule
from mlsys_ray.byzshield.aggregation.median import Median
from mlsys_ray.byzshield.aggregation.preaggregation.bucketing import bucket_means
from mlsys_ray.byzshield.aggregation.rows import Rows


@dataclass(frozen=True)
class MedianOfMeans(CoordinatewiseRule):
    """Inputs are averaged in consecutive buckets, then the median is taken over the buckets.

    Attributes:
        bucket_size: inputs per bucket; the last bucket may be smaller. One Byzantine input spoils
            its whole bucket, so size 1 (the plain median) stands most of them.

    Raises:
        ValueError: `bucket_size` is below 1.
    """

    name: ClassVar[str] = "median_of_means"
    source: ClassVar[str] = "Rajput et al. 2019 (DETOX)"
    condition: ClassVar[str] = "number of buckets >= 2c + 1"
    bucket_size: int = 2

    def __post_init__(self) -> None:
        if self.bucket_size < 1:
            raise ValueError(f"bucket_size is {self.bucket_size}, must be at least 1")

    def tolerance(self, num_gradients: int) -> int:
        """A minority of the buckets."""
        return (-(-num_gradients // self.bucket_size) - 1) // 2

    def combine_columns(self, columns: np.ndarray) -> np.ndarray:
        """Median of the bucket means of float32 `[n, m]`."""
        mixing = bucket_means(np.arange(len(columns)), self.bucket_size)
        means = mixing.astype(np.float32) @ columns
        result = Median().combine_rows(Rows.of(means, screened=True))
        assert result is not None
        return result
