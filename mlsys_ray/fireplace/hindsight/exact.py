"""The best placement of a small window of arrivals, with proof, as a mixed-integer programme."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from mlsys_ray.fireplace.hindsight.local_search import loads
from mlsys_ray.fireplace.metrics import peak_to_average
from mlsys_ray.fireplace.trace import Trace


@dataclass(frozen=True, eq=False, kw_only=True)
class ExactPlacement:
    """The outcome of the programme.

    Attributes:
        placement: int64 `[N]`.
        par: mean over all ticks and resources of the PAR, without a warm-up.
        bound: no placement is below; equal to `par`, but for rounding, if it is exact.
        exact: whether `par` is proven to be the least.
    """

    placement: np.ndarray
    par: float
    bound: float
    exact: bool


def exact_placement(
    trace: Trace, capacity: np.ndarray, *, time_limit: float = 60.0
) -> ExactPlacement:
    """Minimise the mean PAR of a window, such that the PMs admit the VMs' requests at all times.

    Feasible up to about a dozen VMs on three PMs.

    Args:
        trace: the window.
        capacity: float64 `[P, D]`; with unequal PMs the mean load depends on the placement, and
            the peak is minimised relative to the mean over the cluster's whole capacity.
        time_limit: after which the best placement found is returned [s].

    Raises:
        ValueError: no placement is admitted, or none was found in time.
    """
    num_vms, num_pms = trace.num_vms, len(capacity)
    alone = np.stack([_series(trace, vm) for vm in range(num_vms)])
    mean = alone.sum(axis=0) / capacity.sum(axis=0)
    cells = np.argwhere(mean > 0)
    placed = num_vms * num_pms
    cost = np.concatenate([np.zeros(placed), 1 / mean[tuple(cells.T)] / len(cells)])
    constraints = [_one_pm_each(num_vms, num_pms, len(cells))]
    constraints += _peaks(alone, capacity, cells)
    constraints += _admissions(trace, capacity, len(cells))
    upper = np.concatenate([np.ones(placed), np.full(len(cells), np.inf)])
    if (capacity == capacity[0]).all():
        # Equal PMs are interchangeable: VM i needs none beyond the first i + 1.
        for vm in range(min(num_vms, num_pms)):
            upper[vm * num_pms + vm + 1 : (vm + 1) * num_pms] = 0
    result = milp(
        cost,
        integrality=np.concatenate([np.ones(placed), np.zeros(len(cells))]),
        bounds=Bounds(0, upper),
        constraints=constraints,
        options={"time_limit": time_limit, "mip_rel_gap": 1e-9},
    )
    if result.x is None:
        raise ValueError(f"no placement was found in {time_limit} s: {result.message}")
    placement = result.x[:placed].reshape(num_vms, num_pms).argmax(axis=1)
    par = peak_to_average(loads(trace, placement, capacity))
    return ExactPlacement(
        placement=placement,
        par=float(np.nanmean(par)),
        bound=float(result.mip_dual_bound),
        exact=bool(result.status == 0),
    )


def _series(trace: Trace, vm: int) -> np.ndarray:
    """A VM's use in every tick of the window, `[T, D]`."""
    only = np.where(np.arange(trace.num_vms) == vm, 0, -1)
    return loads(trace, only, np.ones((1, len(trace.resources))))[:, 0]


def _one_pm_each(num_vms: int, num_pms: int, num_cells: int) -> LinearConstraint:
    rows = sparse.kron(sparse.eye(num_vms), np.ones((1, num_pms)))
    return LinearConstraint(sparse.hstack([rows, sparse.csr_array((num_vms, num_cells))]), 1, 1)


def _peaks(alone: np.ndarray, capacity: np.ndarray, cells: np.ndarray) -> list[LinearConstraint]:
    """The peak of each tick and resource is at least every PM's load."""
    num_pms = len(capacity)
    constraints = []
    for position, (tick, resource) in enumerate(cells):
        peak = np.zeros((num_pms, len(cells)))
        peak[:, position] = -1
        load = np.kron(alone[:, tick, resource], np.diag(1 / capacity[:, resource]))
        rows = sparse.csr_array(np.hstack([load, peak]))
        constraints.append(LinearConstraint(rows, -np.inf, 0))
    return constraints


def _admissions(trace: Trace, capacity: np.ndarray, num_cells: int) -> list[LinearConstraint]:
    """Requests fit at the moments of arrivals, where their sums are largest."""
    num_pms, num_resources = capacity.shape
    constraints = []
    for moment in trace.arrival:
        alive = (trace.arrival <= moment) & (trace.end > moment)
        for resource in range(num_resources):
            load = np.kron(alive * trace.request[:, resource], np.eye(num_pms))
            rows = sparse.csr_array(np.hstack([load, np.zeros((num_pms, num_cells))]))
            constraints.append(LinearConstraint(rows, -np.inf, capacity[:, resource]))
    return constraints
