"""The set of q Byzantine workers that distorts most files, exactly."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from mlsys_ray.byzshield.assignment import Assignment
from mlsys_ray.byzshield.distortion.bounds import upper_bound
from mlsys_ray.byzshield.distortion.enumeration import (
    enumerate_sets,
    file_masks,
    initial_levels,
    reach,
)
from mlsys_ray.byzshield.distortion.local_search import local_search
from mlsys_ray.byzshield.distortion.symmetry import automorphisms, canonical_prefixes

# Sets behind one prefix: small enough to look at the clock between prefixes.
SETS_PER_PREFIX = 10_000_000
# Below so many sets, finding the symmetries takes longer than going through the sets.
SETS_WORTH_SYMMETRY = 20_000_000


@dataclass(frozen=True)
class WorstCase:
    """What q Byzantine workers can do at most.

    Attributes:
        c_max: files distorted, c_max^(q).
        byzantine: a set that distorts as many, sorted; the lexicographically first one, unless
            the time ran out.
        exact: whether no set can distort more; otherwise it is the best one found.
    """

    c_max: int
    byzantine: tuple[int, ...]
    exact: bool = True


def worst_case(
    assignment: Assignment, num_byzantine: int, *, time_limit: float | None = None
) -> WorstCase:
    """Find c_max^(q) and the first set of workers that reaches it (ByzShield, section 4).

    Branch and bound over sets in lexicographic order, up to the symmetries of the code, from the
    best set that a local search finds.

    Args:
        assignment: the code.
        num_byzantine: q.
        time_limit: seconds after which the best set so far is returned; None waits for the proof.

    Raises:
        ValueError: `num_byzantine` is below 0 or above K.

    >>> from mlsys_ray.byzshield.assignment import mols
    >>> worst_case(mols(load=5, replication=3), 4)
    WorstCase(c_max=5, byzantine=(0, 1, 5, 11), exact=True)
    """
    check_byzantine(assignment, num_byzantine)
    if num_byzantine == 0:
        return WorstCase(0, ())
    deadline = math.inf if time_limit is None else time.perf_counter() + time_limit
    masks, load = file_masks(assignment), assignment.load
    bound = upper_bound(assignment, num_byzantine)
    best, workers = local_search(assignment, num_byzantine)
    first: tuple[int, ...] | None = None

    def promising(prefix: tuple[int, ...]) -> bool:
        picks = num_byzantine - len(prefix)
        within = reach(initial_levels(assignment, prefix), load, picks)
        return within > best or (within == best and first is None)

    for prefix in canonical_prefixes(
        _symmetries(assignment, num_byzantine, proved=best == bound),
        _prefix_size(assignment.num_workers, num_byzantine),
        promising,
    ):
        if time.perf_counter() > deadline:
            return WorstCase(best, first or workers, exact=best == bound)
        value, choice, count = enumerate_sets(
            masks,
            initial_levels(assignment, prefix),
            prefix[-1] + 1 if prefix else 0,
            num_byzantine - len(prefix),
            load,
            best,
            first is None,
            False,
        )
        if count:
            best, first = int(value), (*prefix, *choice.tolist())
            if best == bound:
                break
    assert first is not None
    return WorstCase(best, first)


def _symmetries(assignment: Assignment, num_byzantine: int, proved: bool) -> np.ndarray:
    """Automorphisms to reckon with: the identity alone where others would not pay.

    That is where there are few sets, and where c_max is proved and only the first set is wanted.
    """
    num_workers = assignment.num_workers
    if proved or math.comb(num_workers, num_byzantine) < SETS_WORTH_SYMMETRY:
        return np.arange(num_workers)[None]
    return automorphisms(assignment)


def _prefix_size(num_workers: int, num_byzantine: int) -> int:
    """Workers to fix, so that what is left can be enumerated between two looks at the clock."""
    size = min(2, num_byzantine - 1)
    while math.comb(num_workers - size, num_byzantine - size) > SETS_PER_PREFIX:
        size += 1
    return size


def count_worst_sets(assignment: Assignment, num_byzantine: int) -> int:
    """The number of sets of q workers that distort c_max^(q) files, all of which it goes through.

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
