"""Value learning: Halide schedules from a learned value function (Steiner et al., MLSys 2021)."""

from mlsys_ray.value_learning.scheduling import schedule

__all__ = ["schedule"]
