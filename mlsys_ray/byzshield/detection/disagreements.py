"""Who disagreed with whom in an iteration."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from mlsys_ray.byzshield.assignment import Assignment


def disagreements(assignment: Assignment, digests: Mapping[int, Mapping[int, bytes]]) -> np.ndarray:
    """Count the files on which two workers sent different digests.

    Honest workers never disagree, so of any two that do at least one lied. A copy that is missing
    disagrees with nobody.

    Args:
        assignment: the code, of this iteration.
        digests: what each worker sent, by file; files it does not hold are ignored.

    Returns:
        int64 `[K, K]`, symmetric, with zeros on the diagonal.
    """
    workers = assignment.num_workers
    counts = np.zeros((workers, workers), dtype=np.int64)
    for file in range(assignment.num_files):
        copies = {
            worker: digests[worker][file]
            for worker in assignment.holders_of(file)
            if file in digests.get(worker, ())
        }
        if len(set(copies.values())) < 2:
            continue
        for one, other in combinations(copies, 2):
            if copies[one] != copies[other]:
                counts[one, other] += 1
                counts[other, one] += 1
    return counts
