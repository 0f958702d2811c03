"""Which workers sent the same for the files they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mlsys_ray.byzshield.assignment import Assignment
from mlsys_ray.byzshield.transport import Reply


@dataclass(frozen=True, eq=False)
class Agreement:
    """What the digests of an iteration say.

    Attributes:
        disagree: bool `[K, K]`, symmetric; some file they share has different digests of them.
        answered: bool `[K]`; a digest came for every file of the worker.
    """

    disagree: np.ndarray
    answered: np.ndarray


def agreement(assignment: Assignment, replies: Mapping[int, Reply]) -> Agreement:
    """Compare all copies of all files; a missing copy is no evidence against anybody."""
    num_workers = assignment.num_workers
    disagree = np.zeros((num_workers, num_workers), dtype=bool)
    for file in range(assignment.num_files):
        copies = {
            worker: replies[worker].digests[file]
            for worker in assignment.holders_of(file)
            if file in replies[worker].digests
        }
        if len(set(copies.values())) < 2:
            continue
        for worker, own in copies.items():
            others = [other for other, digest in copies.items() if digest != own]
            disagree[worker, others] = True
    answered = np.array(
        [len(replies[worker].digests) == assignment.load for worker in range(num_workers)]
    )
    return Agreement(disagree, answered)
