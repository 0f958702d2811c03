"""Sizes of physical machines (PMs)."""

from __future__ import annotations

import numpy as np

from mlsys_ray.fireplace.trace import Trace

LARGEST_REQUEST = 0.05
"""The part of a PM that a trace's largest request takes."""
FILL = 0.8
"""The part of the cluster that the requests of VMs alive take at their peak, at most."""


def equal_machines(trace: Trace, num_pms: int) -> np.ndarray:
    """Equal PMs of a size that suits a trace of micro-VMs.

    The largest request takes 5% of a PM, or less where the peak of all requests would otherwise
    fill more than 80% of the cluster.

    Args:
        trace: what will be placed.
        num_pms: P [machines].

    Returns:
        Capacity, float64 `[P, D]`, in the units of the trace's resources.

    Raises:
        ValueError: `num_pms` is below 1.
    """
    if num_pms < 1:
        raise ValueError(f"num_pms is {num_pms}; it must be at least 1")
    size = np.maximum(
        trace.request.max(axis=0) / LARGEST_REQUEST, trace.peak_request / (FILL * num_pms)
    )
    return np.tile(size, (num_pms, 1))
