"""All subsets of workers, the assignment of Aspis."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np

from mlsys_ray.byzshield.assignment.base import Assignment, require_odd_replication

MAX_FILES = 100_000


def aspis(num_workers: int, replication: int) -> Assignment:
    """One file for each set of r workers: f = C(K, r), l = C(K-1, r-1).

    Any two workers share C(K-2, r-2) files, so that a lie is seen by every honest worker
    (Konstantinidis and Ramamoorthy 2023, section IV).

    Raises:
        ValueError: `replication` is even or not in 3 .. K, or there are too many files.
    """
    require_odd_replication("aspis", replication)
    if replication > num_workers:
        raise ValueError(
            f"aspis: replication is {replication}, must be at most the {num_workers} workers"
        )
    num_files = comb(num_workers, replication)
    if num_files > MAX_FILES:
        raise ValueError(
            f"aspis: num_workers is {num_workers}, which makes {num_files} files with replication"
            f" {replication}; at most {MAX_FILES} are supported"
        )
    holders = np.array(list(combinations(range(num_workers), replication)))
    matrix = np.zeros((num_workers, num_files), dtype=bool)
    matrix[holders, np.arange(num_files)[:, None]] = True
    return Assignment("aspis", matrix)
