"""The rows of the paper's distortion tables (Tables 3 to 6)."""

from __future__ import annotations

import time
from typing import Any

from mlsys_ray.byzshield.assignment import Assignment
from mlsys_ray.byzshield.distortion.bounds import baseline_epsilon, frc_epsilon, gamma, pair_bound
from mlsys_ray.byzshield.distortion.worst_case import worst_case

DistortionRow = dict[str, Any]


def distortion_row(
    assignment: Assignment,
    num_byzantine: int,
    *,
    time_limit: float | None = None,
    details: bool = False,
) -> DistortionRow:
    """One row of the tables.

    Args:
        assignment: the code.
        num_byzantine: q.
        time_limit: see `worst_case` [seconds].
        details: add pair_bound (another bound on c_max [files]) and worst_set (sorted workers).

    Returns:
        num_workers K, num_files f, load l, replication r, byzantine q, c_max [files], epsilon =
        c_max / f, baseline and frc (the same fraction of those schemes), gamma (bound on c_max
        [files]), exact, seconds (time to find c_max).

    Raises:
        ValueError: q is below 0 or above K.
    """
    start = time.perf_counter()
    worst = worst_case(assignment, num_byzantine, time_limit=time_limit)
    seconds = time.perf_counter() - start
    row = {
        "num_workers": assignment.num_workers,
        "num_files": assignment.num_files,
        "load": assignment.load,
        "replication": assignment.replication,
        "byzantine": num_byzantine,
        "c_max": worst.c_max,
        "epsilon": worst.c_max / assignment.num_files,
        "baseline": baseline_epsilon(assignment, num_byzantine),
        "frc": frc_epsilon(assignment, num_byzantine),
        "gamma": gamma(assignment, num_byzantine),
        "exact": worst.exact,
        "seconds": seconds,
    }
    if not details:
        return row
    bound = pair_bound(assignment, num_byzantine)
    return row | {"pair_bound": bound, "worst_set": list(worst.byzantine)}
