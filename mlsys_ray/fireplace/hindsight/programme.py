"""The mixed-integer programme of a window of arrivals, solved by HiGHS.

Variables: x[i, p], whether free VM i is on PM p, then the peak of each tick and resource (a cell)
that a free VM touches. All else of the window is constant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, OptimizeResult, milp

from mlsys_ray.fireplace.hindsight.admission import room
from mlsys_ray.fireplace.hindsight.local_search import loads, mean_load
from mlsys_ray.fireplace.trace import Trace

OPTIMAL, INFEASIBLE = 0, 2
"""Two states that the solver ends in."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Programme:
    """F free VMs, P machines, C cells.

    Attributes:
        free: int64 `[F]`, the VMs to be placed.
        num_pms: P.
        cost: float64 `[F P + C]`, of the variables.
        upper: float64 `[F P + C]`, their upper bounds.
        constant: part of the objective that no free VM touches.
        constraints: peaks are at least every PM's load, and requests are admitted.
    """

    free: np.ndarray
    num_pms: int
    cost: np.ndarray
    upper: np.ndarray
    constant: float
    constraints: tuple[LinearConstraint, ...]

    @classmethod
    def of(
        cls, trace: Trace, capacity: np.ndarray, overcommit: float, fixed: np.ndarray
    ) -> Programme:
        """The programme of a window; see `exact_placement` for the arguments."""
        free = np.flatnonzero(fixed < 0)
        mean = mean_load(trace, capacity)
        alone = np.stack([_series(trace, int(vm)) for vm in free])
        cells = np.argwhere(alone.any(axis=0))
        background = loads(trace, fixed, capacity)
        num_pms, placed = len(capacity), len(free) * len(capacity)
        relative = background.max(axis=1) / np.where(mean > 0, mean, np.inf)
        relative[tuple(cells.T)] = 0.0
        upper = np.concatenate([np.ones(placed), np.full(len(cells), np.inf)])
        if len(free) == trace.num_vms and (capacity == capacity[0]).all():
            # Equal empty PMs are interchangeable: VM i needs none beyond the first i + 1.
            for vm in range(min(len(free), num_pms)):
                upper[vm * num_pms + vm + 1 : (vm + 1) * num_pms] = 0
        return cls(
            free=free,
            num_pms=num_pms,
            cost=np.concatenate(
                [np.zeros(placed), 1 / mean[tuple(cells.T)] / np.count_nonzero(mean)]
            ),
            upper=upper,
            constant=float(relative.sum() / np.count_nonzero(mean)),
            constraints=(
                *_peaks(alone, background, capacity, cells),
                *_admissions(trace, free, fixed, room(capacity, overcommit), len(cells)),
            ),
        )

    def least_peaks(self, num_placed: int, time_limit: float) -> OptimizeResult:
        """Place so many free VMs such that the peaks are least.

        Args:
            num_placed: at most F.
            time_limit: [s].
        """
        constraints = [self._one_pm_each(num_placed == len(self.free))]
        if num_placed < len(self.free):
            constraints.append(LinearConstraint(self._places(), num_placed, num_placed))
        return self._solve(self.cost, constraints, time_limit)

    def most_placed(self, time_limit: float) -> int:
        """How many free VMs can be admitted.

        Raises:
            ValueError: it was not found in time.
        """
        result = self._solve(-self._places(), [self._one_pm_each(False)], time_limit)
        if result.status != OPTIMAL:
            raise ValueError(f"how many VMs can be admitted was not found: {result.message}")
        return round(-result.fun)

    def placement(self, solution: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        """Each VM's PM, int64 `[N]`, -1 where it is refused."""
        chosen = solution[: len(self.free) * self.num_pms].reshape(len(self.free), self.num_pms)
        placement = fixed.copy()
        placement[self.free] = np.where(chosen.max(axis=1) > 0.5, chosen.argmax(axis=1), -1)
        return placement

    def _solve(
        self, cost: np.ndarray, constraints: list[LinearConstraint], time_limit: float
    ) -> OptimizeResult:
        return milp(
            cost,
            integrality=self._places(),
            bounds=Bounds(0, self.upper),
            constraints=[*self.constraints, *constraints],
            options={"time_limit": max(time_limit, 1e-3), "mip_rel_gap": 1e-9},
        )

    def _places(self) -> np.ndarray:
        """1 for every variable x."""
        places = np.zeros(len(self.cost))
        places[: len(self.free) * self.num_pms] = 1
        return places

    def _one_pm_each(self, all_of_them: bool) -> LinearConstraint:
        num_vms, num_cells = len(self.free), len(self.cost) - len(self.free) * self.num_pms
        rows = sparse.kron(sparse.eye(num_vms), np.ones((1, self.num_pms)))
        matrix = sparse.hstack([rows, sparse.csr_array((num_vms, num_cells))])
        return LinearConstraint(matrix, 1 if all_of_them else 0, 1)


def _series(trace: Trace, vm: int) -> np.ndarray:
    """A VM's use in every tick of the window, `[T, D]`."""
    only = np.where(np.arange(trace.num_vms) == vm, 0, -1)
    return loads(trace, only, np.ones((1, len(trace.resources))))[:, 0]


def _peaks(
    alone: np.ndarray, background: np.ndarray, capacity: np.ndarray, cells: np.ndarray
) -> list[LinearConstraint]:
    """The peak of each cell is at least every PM's load, the background's included."""
    num_pms = len(capacity)
    constraints = []
    for position, (tick, resource) in enumerate(cells):
        peak = np.zeros((num_pms, len(cells)))
        peak[:, position] = -1
        load = np.kron(alone[:, tick, resource], np.diag(1 / capacity[:, resource]))
        rows = sparse.csr_array(np.hstack([load, peak]))
        constraints.append(LinearConstraint(rows, -np.inf, -background[tick, :, resource]))
    return constraints


def _admissions(
    trace: Trace, free: np.ndarray, fixed: np.ndarray, allowed: np.ndarray, num_cells: int
) -> list[LinearConstraint]:
    """Requests fit at the moments of arrivals, where their sums are largest."""
    num_pms, num_resources = allowed.shape
    constraints = []
    for moment in trace.arrival:
        alive = (trace.arrival <= moment) & (trace.end > moment)
        if not alive[free].any():
            continue
        left = allowed.copy()
        there = alive & (fixed >= 0)
        np.subtract.at(left, fixed[there], trace.request[there])
        for resource in range(num_resources):
            load = np.kron(alive[free] * trace.request[free, resource], np.eye(num_pms))
            rows = sparse.csr_array(np.hstack([load, np.zeros((num_pms, num_cells))]))
            constraints.append(LinearConstraint(rows, -np.inf, left[:, resource]))
    return constraints
