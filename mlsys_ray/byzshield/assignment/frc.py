"""Fractional repetition code, the assignment of DRACO and DETOX."""

from __future__ import annotations

import numpy as np

from mlsys_ray.byzshield.assignment.base import Assignment, require_odd_replication


def frc(num_workers: int, replication: int) -> Assignment:
    """K/r groups of r workers; a group computes one file, so f = K/r and l = 1.

    Group g consists of workers `g*r .. g*r + r - 1` (Rajput et al. 2019, DETOX).

    Raises:
        ValueError: `replication` is even, below 3 or does not divide `num_workers`.
    """
    require_odd_replication("frc", replication)
    if num_workers < 1 or num_workers % replication:
        raise ValueError(
            f"frc: num_workers is {num_workers}, must be a positive multiple of the replication"
            f" {replication}, because workers stand in groups of that size"
        )
    groups = np.eye(num_workers // replication, dtype=bool)
    return Assignment("frc", np.repeat(groups, replication, axis=0))
