"""The rows of the paper's distortion tables (Tables 3 to 6)."""

from __future__ import annotations

import time

from mlsys_ray.byzshield.assignment import Assignment
from mlsys_ray.byzshield.distortion.bounds import baseline_epsilon, frc_epsilon, gamma
from mlsys_ray.byzshield.distortion.worst_case import worst_case

DistortionRow = dict[str, float | int | bool | None]


def distortion_row(assignment: Assignment, num_byzantine: int) -> DistortionRow:
    """One row of the tables.

    Returns:
        num_workers K, num_files f, load l, replication r, byzantine q, c_max [files], epsilon =
        c_max / f, baseline and frc (the same fraction of those schemes), gamma (bound on c_max
        [files]), exact, seconds (time to find c_max).

    Raises:
        ValueError: q is below 0 or above K.
    """
    start = time.perf_counter()
    worst = worst_case(assignment, num_byzantine)
    seconds = time.perf_counter() - start
    return {
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
