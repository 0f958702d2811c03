"""All subsets of workers of one size, the assignment of Aspis."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np

from mlsys_ray.byzshield.assignment.base import Assignment, require_odd_replication

MAX_FILES = 1_000_000


def aspis(num_workers: int, replication: int) -> Assignment:
    """Every r workers hold one file together: f = C(K, r), l = C(K - 1, r - 1).

    Files are the subsets in lexicographic order; any two workers share C(K - 2, r - 2) of them
    (Konstantinidis et al. 2023, Aspis). A batch has to have a sample for each file.

    Raises:
        ValueError: `replication` is even, below 3 or above `num_workers`, or there would be more
            than a million files.
    """
    require_odd_replication("aspis", replication)
    if num_workers < replication:
        raise ValueError(
            f"aspis: num_workers is {num_workers}, must be at least the replication"
            f" {replication}, because a file is held by that many different workers"
        )
    num_files = comb(num_workers, replication)
    if num_files > MAX_FILES:
        raise ValueError(
            f"aspis: num_workers is {num_workers}, but with replication {replication} there are"
            f" {num_files} files, one for each subset; at most {MAX_FILES} are accepted"
        )
    holders = np.array(list(combinations(range(num_workers), replication)))
    matrix = np.zeros((num_workers, num_files), dtype=bool)
    matrix[holders.T, np.arange(num_files)] = True
    return Assignment("aspis", matrix)
