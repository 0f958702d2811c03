"""No redundancy: every worker computes a part of the batch of its own."""

from __future__ import annotations

import numpy as np

from mlsys_ray.byzshield.assignment.base import Assignment


def baseline(num_workers: int) -> Assignment:
    """K workers, f = K files, l = r = 1; the plain robust rules are used on this.

    Raises:
        ValueError: `num_workers` is below 1.
    """
    if num_workers < 1:
        raise ValueError(f"baseline: num_workers is {num_workers}, must be at least 1")
    return Assignment("baseline", np.eye(num_workers, dtype=bool))
