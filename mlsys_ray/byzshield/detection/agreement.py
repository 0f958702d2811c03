"""Which workers sent the same for the files they share."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from mlsys_ray.byzshield.assignment import Assignment
from mlsys_ray.byzshield.transport import Reply


@dataclass(frozen=True, eq=False)
class Agreement:
    """What the digests of an iteration say.

    Honest workers never disagree, so of any two that do at least one lied.

    Attributes:
        disagreements: int64 `[K, K]`, symmetric; shared files with different digests of the two.
    """

    disagreements: np.ndarray

    @property
    def disagree(self) -> np.ndarray:
        """Mask bool `[K, K]` of those that disagree on some file."""
        return self.disagreements > 0

    def pairs(self) -> list[tuple[int, int, int]]:
        """Every pair of workers that disagree, the lower first, with the number of files."""
        pairs = np.argwhere(np.triu(self.disagreements)).tolist()
        return [(one, other, int(self.disagreements[one, other])) for one, other in pairs]


def agreement(
    assignment: Assignment,
    replies: Mapping[int, Reply],
    close: Set[tuple[int, int, int]] = frozenset(),
) -> Agreement:
    """Compare all copies of all files; a missing copy is no evidence against anybody.

    Args:
        assignment: who holds what.
        replies: of the workers.
        close: (file, worker, worker) whose copies count as equal all the same, the lower first.
    """
    disagreements = np.zeros((assignment.num_workers, assignment.num_workers), dtype=np.int64)
    for file in range(assignment.num_files):
        copies = {
            worker: replies[worker].digests[file]
            for worker in assignment.holders_of(file)
            if file in replies[worker].digests
        }
        if len(set(copies.values())) < 2:
            continue
        for one, other in combinations(copies, 2):
            if copies[one] != copies[other] and (file, one, other) not in close:
                disagreements[one, other] += 1
                disagreements[other, one] += 1
    return Agreement(disagreements)
