"""Worst-case distortion of an assignment: what q Byzantine workers can do at most."""

from mlsys_ray.byzshield.distortion.bounds import (
    baseline_epsilon,
    frc_epsilon,
    gamma,
    pair_bound,
    upper_bound,
)
from mlsys_ray.byzshield.distortion.table import DistortionRow, distortion_row
from mlsys_ray.byzshield.distortion.worst_case import (
    WorstCase,
    count_worst_sets,
    worst_case,
)

__all__ = [
    "DistortionRow",
    "WorstCase",
    "baseline_epsilon",
    "count_worst_sets",
    "distortion_row",
    "frc_epsilon",
    "gamma",
    "pair_bound",
    "upper_bound",
    "worst_case",
]
