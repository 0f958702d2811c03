"""Which placements PMs admit: at all times their requests stay within what may be taken."""

from __future__ import annotations

import numpy as np

from mlsys_ray.fireplace.trace import Trace

TOLERANCE = 1e-9
"""Of the simulator's admission, relative to the capacity."""


def room(capacity: np.ndarray, overcommit: float) -> np.ndarray:
    """What requests may take of each PM, float64 `[P, D]`.

    Args:
        capacity: float64 `[P, D]`.
        overcommit: the part of its capacity that a PM's requests may take in all.
    """
    return overcommit * capacity * (1 + TOLERANCE)


def last_arrival(trace: Trace) -> np.ndarray:
    """int64 `[N]`: VM i is there at the arrivals i to `last_arrival[i]`.

    Requests are largest at arrivals, and a VM that ends at one is gone before it.
    """
    return np.searchsorted(trace.arrival, trace.end) - 1


def check_placement(
    trace: Trace, placement: np.ndarray, capacity: np.ndarray, overcommit: float
) -> np.ndarray:
    """A placement given by the user, as int64.

    Args:
        trace: N VMs.
        placement: `[N]`, each VM's PM, -1 for none.
        capacity: float64 `[P, D]`.
        overcommit: see `room`.

    Raises:
        ValueError: it has another length, names a PM that does not exist, or asks more of a PM
            than it admits.
    """
    placement = np.asarray(placement)
    if placement.shape != (trace.num_vms,) or placement.dtype.kind not in "iu":
        raise ValueError(
            f"a placement of {trace.num_vms} VMs is {trace.num_vms} integers; this one has the"
            f" shape {placement.shape} and the type {placement.dtype}"
        )
    if placement.min() < -1 or placement.max() >= len(capacity):
        raise ValueError(
            f"the placement names PMs from {placement.min()} to {placement.max()};"
            f" there are 0 to {len(capacity) - 1}, and -1 for none"
        )
    allowed = room(capacity, overcommit)
    for pm in range(len(capacity)):
        there = placement == pm
        if there.any() and ((asked := trace.peak_request_of(there)) > allowed[pm]).any():
            raise ValueError(
                f"the placement asks up to {asked.tolist()} of PM {pm},"
                f" which admits {(overcommit * capacity[pm]).tolist()}"
            )
    return placement.astype(np.int64)
