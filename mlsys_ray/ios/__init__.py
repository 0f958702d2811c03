"""IOS: which operators of a convolutional network run side by side (Ding et al., MLSys 2021)."""

from mlsys_ray.ios.optimization import ScheduledModule, optimize
from mlsys_ray.ios.plan import Settings

__all__ = ["ScheduledModule", "Settings", "optimize"]
