"""The set of q Byzantine workers that distorts most files, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from mlsys_ray.byzshield.assignment import Assignment
from mlsys_ray.byzshield.distortion.enumeration import (
    enumerate_sets,
    file_masks,
    initial_levels,
)

PREFIX = 2


@dataclass(frozen=True)
class WorstCase:
    """What q Byzantine workers can do at most.

    Attributes:
        c_max: files distorted, c_max^(q).
        byzantine: the lexicographically first set that distorts as many, sorted.
        exact: whether no set can distort more; otherwise it is the best one found.
    """

    c_max: int
    byzantine: tuple[int, ...]
    exact: bool = True


def worst_case(assignment: Assignment, num_byzantine: int) -> WorstCase:
    """Find c_max^(q) and the first set of workers that reaches it (ByzShield, section 4).

    Raises:
        ValueError: `num_byzantine` is below 0 or above K.

    >>> from mlsys_ray.byzshield.assignment import mols
    >>> worst_case(mols(load=5, replication=3), 4)
    WorstCase(c_max=5, byzantine=(0, 1, 5, 11), exact=True)
    """
    check_byzantine(assignment, num_byzantine)
    if num_byzantine == 0:
        return WorstCase(0, ())
    masks = file_masks(assignment)
    best, byzantine = -1, ()
    for prefix in combinations(range(assignment.num_workers), min(PREFIX, num_byzantine - 1)):
        value, choice, count = enumerate_sets(
            masks,
            initial_levels(assignment, prefix),
            prefix[-1] + 1 if prefix else 0,
            num_byzantine - len(prefix),
            assignment.load,
            best,
            False,
            False,
        )
        if count:
            best, byzantine = int(value), (*prefix, *choice.tolist())
    return WorstCase(best, byzantine)


def count_worst_sets(assignment: Assignment, num_byzantine: int) -> int:
    """The number of sets of q workers that distort c_max^(q) files.

    Raises:
        ValueError: `num_byzantine` is below 0 or above K.

    >>> from mlsys_ray.byzshield.assignment import mols
    >>> count_worst_sets(mols(load=5, replication=3), 4)
    450
    """
    check_byzantine(assignment, num_byzantine)
    if num_byzantine == 0:
        return 1
    masks, levels = file_masks(assignment), initial_levels(assignment, ())
    best = worst_case(assignment, num_byzantine).c_max
    count = enumerate_sets(masks, levels, 0, num_byzantine, assignment.load, best, True, True)[2]
    return int(count)


def check_byzantine(assignment: Assignment, num_byzantine: int) -> None:
    """Refuse a q that is no number of workers.

    Raises:
        ValueError: it is below 0 or above K.
    """
    if not 0 <= num_byzantine <= assignment.num_workers:
        raise ValueError(
            f"byzantine is {num_byzantine}, must be from 0 to the"
            f" {assignment.num_workers} workers of {assignment.scheme}"
        )
