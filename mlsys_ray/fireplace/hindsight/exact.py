"""The best placement of a small window of arrivals, with proof."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

import numpy as np

from mlsys_ray.fireplace.hindsight.admission import check_placement
from mlsys_ray.fireplace.hindsight.local_search import loads, mean_load
from mlsys_ray.fireplace.hindsight.programme import INFEASIBLE, OPTIMAL, Programme
from mlsys_ray.fireplace.metrics import peak_to_average
from mlsys_ray.fireplace.simulator import NOT_PLACED
from mlsys_ray.fireplace.trace import Trace


@dataclass(frozen=True, eq=False, kw_only=True)
class ExactPlacement:
    """The outcome of the programme.

    Attributes:
        placement: int64 `[N]`, -1 for VMs that are refused.
        par: mean over all ticks and resources of the PAR, without a warm-up; nan if all are
            refused.
        mean_peak: what is least, see `mean_peak`.
        bound: no placement that refuses as few has a smaller `mean_peak`; equal to it, but for
            rounding, if it is exact.
        exact: whether `mean_peak` is proven to be the least.
    """

    placement: np.ndarray
    par: float
    mean_peak: float
    bound: float
    exact: bool


def exact_placement(
    trace: Trace,
    capacity: np.ndarray,
    *,
    overcommit: float = 1.0,
    fixed: np.ndarray | None = None,
    start: np.ndarray | None = None,
    time_limit: float = 60.0,
) -> ExactPlacement:
    """Refuse as few VMs of a window as possible, and minimise the mean peak of the others.

    PMs admit the VMs' requests at all times. Feasible up to about a dozen VMs to be placed on
    three PMs.

    Args:
        trace: the window.
        capacity: float64 `[P, D]`.
        overcommit: the part of its capacity that a PM's requests may take in all.
        fixed: int64 `[N]`, the PM of VMs that stay where they are, the background; -1 for the VMs
            to be placed. None: all are to be placed.
        start: int64 `[N]`, a placement known before, as that of the search; the result where
            nothing better is found in time. The programme itself does not begin with it.
        time_limit: of the whole [s].

    Raises:
        ValueError: `fixed` or `start` is not admitted or they disagree, no VM is to be placed, or
            no placement was found in time.
    """
    deadline = monotonic() + time_limit
    capacity = np.ascontiguousarray(capacity, dtype=np.float64)
    fixed = np.full(trace.num_vms, NOT_PLACED) if fixed is None else fixed
    fixed = check_placement(trace, fixed, capacity, overcommit)
    if (fixed >= 0).all():
        raise ValueError("all VMs are fixed; none is to be placed")
    if start is not None:
        start = check_placement(trace, start, capacity, overcommit)
        if (start != fixed)[fixed >= 0].any():
            raise ValueError("start places VMs elsewhere than where they are fixed")
    programme = Programme.of(trace, capacity, overcommit, fixed)
    num_placed = len(programme.free)
    result = programme.least_peaks(num_placed, deadline - monotonic())
    if result.status == INFEASIBLE:
        num_placed = programme.most_placed(deadline - monotonic())
        result = programme.least_peaks(num_placed, deadline - monotonic())
    found = []
    if start is not None and np.count_nonzero(start[programme.free] >= 0) == num_placed:
        found.append(start)
    if result.x is not None:
        found.append(programme.placement(result.x, fixed))
    if not found:
        raise ValueError(f"no placement was found in {time_limit} s: {result.message}")
    best = min(found, key=lambda placement: mean_peak(trace, placement, capacity))
    par = peak_to_average(loads(trace, best, capacity))
    bound = result.mip_dual_bound
    return ExactPlacement(
        placement=best,
        par=float(np.nanmean(par)) if np.isfinite(par).any() else np.nan,
        mean_peak=mean_peak(trace, best, capacity),
        bound=programme.constant if bound is None else float(bound) + programme.constant,
        exact=bool(result.status == OPTIMAL),
    )


def mean_peak(trace: Trace, placement: np.ndarray, capacity: np.ndarray) -> float:
    """The mean over ticks and resources of the largest load, relative to the mean of all VMs'.

    The mean is that of the VMs' use over the cluster's whole capacity, the refused ones' included,
    and so the same for all placements. Where PMs are equal and none is refused this is the PAR;
    else the PAR's mean depends on the placement, and no linear programme minimises it.

    Args:
        trace: N VMs.
        placement: int64 `[N]`, -1 for VMs that are refused.
        capacity: float64 `[P, D]`.
    """
    mean = mean_load(trace, capacity)
    peak = loads(trace, placement, capacity).max(axis=1)
    return float((peak[mean > 0] / mean[mean > 0]).mean())
