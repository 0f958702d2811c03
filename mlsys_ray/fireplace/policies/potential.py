"""A convex potential of the PMs' forecast loads.

The potential is the sum over PMs p, horizons h and resources d of
w[h] omega[d] exp(K (X[p, h, d] / mean_p X - 1)), X being the expected load of
`forecast`, corrected by how far telemetry was off. It is
this project's own design.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mlsys_ray.fireplace.compiled import compiled
from mlsys_ray.fireplace.policies.forecast import NUM_HORIZONS, Forecast, arrival_curve
from mlsys_ray.fireplace.simulator import State
from mlsys_ray.fireplace.statistics import HORIZONS
from mlsys_ray.fireplace.trace import TraceArrays

LARGEST_EXPONENT = 50.0
STALE = 0.02
"""Relative change of a cluster mean after which the potentials of all PMs are computed anew."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PotentialWeights:
    """Parameters of the potential; the defaults are set by hand.

    Attributes:
        horizon: weight w of each of `HORIZONS`, at least 0.
        resource: weight omega of each resource, at least 0; a single one is for all.
        steepness: K, above 0.
        residual: part rho of the telemetry residual that is added at each of `HORIZONS`.
        request: part of the PM's requests that is added to every forecast.

    Raises:
        ValueError: naming the field, its value and what is accepted.
    """

    horizon: tuple[float, ...] = (1.0,) * NUM_HORIZONS
    resource: tuple[float, ...] = (1.0,)
    steepness: float = 5.0
    residual: tuple[float, ...] = (1.3, 1.3, 1.0, 0.8, 0.5, 0.2, 0.0)
    request: float = 0.0

    def __post_init__(self) -> None:
        for name in ("horizon", "residual"):
            if len(getattr(self, name)) != NUM_HORIZONS:
                raise ValueError(
                    f"{name} has {len(getattr(self, name))} values;"
                    f" there must be {NUM_HORIZONS}, for the horizons {HORIZONS}"
                )
        if min(self.horizon) < 0 or min(self.resource) < 0 or max(self.horizon) == 0:
            raise ValueError(
                f"horizon {self.horizon} and resource {self.resource} must not be below 0,"
                " nor every horizon 0"
            )
        if not self.steepness > 0:
            raise ValueError(f"steepness is {self.steepness}; it must be above 0")

    def to_vector(self, num_resources: int) -> np.ndarray:
        """The parameters as an unbounded vector for a search, float64 `[16 + D]`."""
        resource = np.broadcast_to(self.resource, (num_resources,))
        logs = np.log(np.maximum([*self.horizon, *resource, self.steepness], 1e-3))
        return np.concatenate([logs, self.residual, [self.request]])

    @classmethod
    def from_vector(cls, vector: np.ndarray) -> PotentialWeights:
        """The parameters of such a vector."""
        first, second = NUM_HORIZONS, len(vector) - NUM_HORIZONS - 2
        return cls(
            horizon=tuple(np.exp(vector[:first]).tolist()),
            resource=tuple(np.exp(vector[first:second]).tolist()),
            steepness=float(np.exp(vector[second])),
            residual=tuple(vector[second + 1 : -1].tolist()),
            request=float(vector[-1]),
        )


class Potential(NamedTuple):
    """The potentials of all PMs. Rows `[.., H, D]` are flat, of length H x D.

    Attributes:
        weight: float64 `[H D]`, w[h] omega[d].
        steepness: K.
        residual: float64 `[H]`.
        request: part of the requests added.
        kind: int64 `[P]`, PMs of one capacity have one kind.
        kind_capacity: float64 `[kinds, D]`.
        load: float64 `[P, H D]`, X as a part of the capacity.
        total: float64 `[H D]`, sum of X over the PMs.
        anchor: float64 `[H D]`, the cluster mean that `value` was computed with.
        value: float64 `[P, H D]`, exp(K (X / anchor - 1)).
        growth: float64 `[kinds, H D]`, what the arriving VM would multiply each value by, less 1,
            times its weight.
    """

    weight: np.ndarray
    steepness: float
    residual: np.ndarray
    request: float
    kind: np.ndarray
    kind_capacity: np.ndarray
    load: np.ndarray
    total: np.ndarray
    anchor: np.ndarray
    value: np.ndarray
    growth: np.ndarray


def open_potential(state: State, weights: PotentialWeights) -> Potential:
    """The potentials of an empty cluster."""
    pms, resources = state.capacity.shape
    cells = NUM_HORIZONS * resources
    kind_capacity, kind = np.unique(state.capacity, axis=0, return_inverse=True)
    resource = np.broadcast_to(np.array(weights.resource), (resources,))
    return Potential(
        np.outer(weights.horizon, resource).ravel(),
        float(weights.steepness),
        np.array(weights.residual, dtype=np.float64),
        float(weights.request),
        kind.reshape(-1).astype(np.int64),
        kind_capacity,
        np.zeros((pms, cells)),
        np.zeros(cells),
        np.zeros(cells),
        np.ones((pms, cells)),
        np.zeros((len(kind_capacity), cells)),
    )


@compiled()
def _expected_load(
    potential: Potential, forecast: Forecast, state: State, pm: int, h: int, d: int
) -> float:
    expected = (
        forecast.load[pm, h, d]
        + potential.residual[h] * forecast.residual[pm, d]
        + potential.request * state.requested[pm, d]
    )
    return max(expected, 0.0) / state.capacity[pm, d]


@compiled()
def renew(potential: Potential, forecast: Forecast, state: State) -> None:
    """Compute the potentials of all PMs anew, around the present cluster means."""
    pms, resources = state.capacity.shape
    potential.total[:] = 0.0
    for pm in range(pms):
        for h in range(NUM_HORIZONS):
            for d in range(resources):
                load = _expected_load(potential, forecast, state, pm, h, d)
                potential.load[pm, h * resources + d] = load
                potential.total[h * resources + d] += load
    potential.anchor[:] = np.maximum(potential.total / pms, 1e-12)
    for pm in range(pms):
        _revalue(potential, pm)


@compiled()
def _revalue(potential: Potential, pm: int) -> None:
    for cell in range(len(potential.anchor)):
        excess = potential.load[pm, cell] / potential.anchor[cell] - 1.0
        exponent = min(potential.steepness * excess, LARGEST_EXPONENT)
        potential.value[pm, cell] = np.exp(exponent)


@compiled()
def renew_pm(potential: Potential, forecast: Forecast, state: State, pm: int) -> None:
    """One PM's forecast has changed."""
    resources = state.capacity.shape[1]
    for h in range(NUM_HORIZONS):
        for d in range(resources):
            cell = h * resources + d
            load = _expected_load(potential, forecast, state, pm, h, d)
            potential.total[cell] += load - potential.load[pm, cell]
            potential.load[pm, cell] = load
    _revalue(potential, pm)


@compiled()
def score(
    potential: Potential,
    forecast: Forecast,
    state: State,
    trace: TraceArrays,
    vm: int,
    scores: np.ndarray,
) -> None:
    """Write the growth of the potential with the VM on each PM to `scores` `[P]`."""
    pms, resources = state.capacity.shape
    for cell in range(len(potential.anchor)):
        mean = potential.total[cell] / pms
        if abs(mean - potential.anchor[cell]) > STALE * potential.anchor[cell]:
            renew(potential, forecast, state)
            break
    curve = arrival_curve(forecast, state, trace, vm)
    for kind in range(len(potential.kind_capacity)):
        for cell in range(len(potential.anchor)):
            d = cell % resources
            added = forecast.mean[vm, d] * curve[cell // resources]
            relative = added / (potential.kind_capacity[kind, d] * potential.anchor[cell])
            exponent = min(potential.steepness * relative, LARGEST_EXPONENT)
            potential.growth[kind, cell] = potential.weight[cell] * (np.exp(exponent) - 1.0)
    for pm in range(pms):
        scores[pm] = _dot(potential.value[pm], potential.growth[potential.kind[pm]])


@compiled(fastmath=True)
def _dot(left: np.ndarray, right: np.ndarray) -> float:
    total = 0.0
    for cell in range(len(left)):
        total += left[cell] * right[cell]
    return total
