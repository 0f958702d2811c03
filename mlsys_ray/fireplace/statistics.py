"""What is learned of functions from VMs that have ended: their use and how long they live."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlsys_ray.fireplace.trace import Trace, presence

HORIZONS = (0, 1, 2, 4, 8, 16, 32)
"""Ticks ahead for which the presence of a VM is forecast; 0 is the present tick."""
NUM_AGES = 48
"""Age bins, log-spaced."""
NUM_RESTS = 20
"""Bins of the part of its first tick that is left when a VM arrives."""
PRIOR_VMS = 4.0
"""VMs of the global law that every function's statistics start from."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Statistics:
    """Statistics of F functions and, in the last row, of all VMs together.

    Attributes:
        tick: telemetry interval they are for [s].
        functions: names of the F functions.
        ages: float64 `[A]` [s], lower edges of the age bins, the first being 0.
        use: float64 `[F + 1, D]`, mean use while alive, as a part of the request.
        spread: float64 `[F + 1, D]`, standard deviation of the use of a tick around that mean, as a
            part of the request.
        survival: float64 `[F + 1, A]`, chance that a VM lives to each age.
        presence: float64 `[F + 1, A, H]`, the expected part of the tick `HORIZONS[h]` ahead in
            which a VM lives that is in age bin a at the start of the present tick.
        first_presence: float64 `[F + 1, R, H]`, the same for a VM that arrives when a part of
            about (r + 1/2) / R of the present tick is left.
    """

    tick: float
    functions: tuple[str, ...]
    ages: np.ndarray
    use: np.ndarray
    spread: np.ndarray
    survival: np.ndarray
    presence: np.ndarray
    first_presence: np.ndarray

    @classmethod
    def learn(cls, trace: Trace) -> Statistics:
        """Learn from a trace; lives that outlast it count as lives up to its last arrival.

        Lives are estimated after Kaplan and Meier, so that VMs still alive are no bias.
        """
        num_rows = len(trace.functions) + 1
        function = np.where(trace.function < 0, num_rows - 1, trace.function)
        use, spread = _use(trace, function, num_rows)
        ages, survival = _survival(trace, function, num_rows)
        return cls(
            tick=trace.tick,
            functions=trace.functions,
            ages=ages,
            use=use,
            spread=spread,
            survival=survival,
            presence=_presence(ages, survival, trace.tick),
            first_presence=_first_presence(ages, survival, trace.tick),
        )

    def rows(self, trace: Trace) -> np.ndarray:
        """The row of each VM's function, int64 `[N]`; the last one where it is not known.

        Raises:
            ValueError: the trace has another tick.
        """
        if trace.tick != self.tick:
            raise ValueError(
                f"the trace's tick is {trace.tick} s, the statistics are for {self.tick} s"
            )
        known = {name: row for row, name in enumerate(self.functions)}
        unknown = len(self.functions)
        row = np.array([known.get(name, unknown) for name in trace.functions] + [unknown])
        return row[trace.function]

    def expected_use(self, trace: Trace) -> np.ndarray:
        """Mean use of each VM while it is alive, float64 `[N, D]`, in the resources' units."""
        return self.use[self.rows(trace)] * trace.request

    def expected_spread(self, trace: Trace) -> np.ndarray:
        """Standard deviation of each VM's use of a tick, float64 `[N, D]`."""
        return self.spread[self.rows(trace)] * trace.request


def _sums(rows: np.ndarray, values: np.ndarray, num_rows: int) -> np.ndarray:
    """Sums of `values` `[N, C]` by row, float64 `[num_rows, C]`; the last is the sum of all."""
    table = np.stack([np.bincount(rows, column, num_rows) for column in values.T], axis=1)
    table[-1] = table.sum(axis=0)
    return table


def _with_prior(total: np.ndarray, weight: np.ndarray, num_vms: int) -> np.ndarray:
    """The ratio total / weight of each row, the global one counting as `PRIOR_VMS` VMs."""
    prior = PRIOR_VMS * weight[-1] / num_vms
    return (total + prior * total[-1] / weight[-1]) / (weight + prior)


def _use(trace: Trace, function: np.ndarray, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the use; a partial tick counts by its length."""
    offset, share = presence(trace.arrival, trace.end, trace.tick)
    vm = np.repeat(np.arange(trace.num_vms), np.diff(offset))
    row = function[vm]
    lived = share[:, None] * trace.request[vm]
    weight = _sums(row, lived, num_rows)
    mean = _with_prior(_sums(row, trace.use, num_rows), weight, trace.num_vms)
    deviation = (trace.use - mean[row] * lived) ** 2 / lived
    # Squares of parts of the request, each weighted by what it is a part of.
    variance = _with_prior(_sums(row, deviation, num_rows), weight, trace.num_vms)
    return mean, np.sqrt(variance)


def _survival(trace: Trace, function: np.ndarray, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Ages and the chance to live to each, by Kaplan and Meier's product of hazards."""
    horizon = trace.arrival[-1]
    life = np.minimum(trace.end, horizon) - trace.arrival
    ages = np.geomspace(trace.tick / 50, max(life.max(), 2 * trace.tick), NUM_AGES - 1)
    ages = np.concatenate([[0.0], ages])
    last_age = age_bin(ages, life)
    counts = np.zeros((2, num_rows, NUM_AGES))
    np.add.at(counts[0], (function, last_age), 1.0)
    np.add.at(counts[1], (function, last_age), trace.end <= horizon)
    counts[:, -1] = counts.sum(axis=1)
    left, died = counts
    at_risk = left[:, ::-1].cumsum(axis=1)[:, ::-1]
    overall = died[-1] / np.maximum(at_risk[-1], 1.0)
    prior = PRIOR_VMS * _survivors(overall)
    return ages, _survivors((died + prior * overall) / (at_risk + prior))


def _survivors(hazard: np.ndarray) -> np.ndarray:
    """The chance to reach each age, from the hazards `[..., A]` of the ages before it."""
    start = np.ones((*hazard.shape[:-1], 1))
    return np.concatenate([start, np.cumprod(1 - hazard[..., :-1], axis=-1)], axis=-1)


def age_bin(ages: np.ndarray, age: np.ndarray) -> np.ndarray:
    """The bin of each age [s], int64."""
    return np.searchsorted(ages, age, side="right") - 1


def _lived(ages: np.ndarray, survival: np.ndarray, until: np.ndarray) -> np.ndarray:
    """The integral of the survival curve, linear between ages, from 0 to each time [s].

    Args:
        ages: float64 `[A]`.
        survival: float64 `[F, A]`.
        until: float64 `[X]` [s].

    Returns:
        float64 `[F, X]` [s], the mean time that a VM lives until then.
    """
    pieces = np.diff(ages) * (survival[:, 1:] + survival[:, :-1]) / 2
    whole = np.concatenate([np.zeros((len(survival), 1)), pieces.cumsum(axis=1)], axis=1)
    low = age_bin(ages, until)
    high = np.minimum(low + 1, len(ages) - 1)
    rest = until - ages[low]
    width = np.maximum(ages[high] - ages[low], 1e-12)
    part = np.minimum(rest / width, 1.0) * (high > low)
    at_end = survival[:, low] + part * (survival[:, high] - survival[:, low])
    return whole[:, low] + rest * (survival[:, low] + at_end) / 2


def _presence(ages: np.ndarray, survival: np.ndarray, tick: float) -> np.ndarray:
    middle = np.append((ages[1:] + ages[:-1]) / 2, ages[-1])
    start = middle[:, None] + np.array(HORIZONS) * tick
    lived = _lived(ages, survival, (start + tick).ravel()) - _lived(ages, survival, start.ravel())
    reached = np.stack([np.interp(middle, ages, curve) for curve in survival])
    shares = lived.reshape(len(survival), *start.shape) / tick
    return np.clip(shares / np.maximum(reached, 1e-9)[:, :, None], 0.0, 1.0)


def _first_presence(ages: np.ndarray, survival: np.ndarray, tick: float) -> np.ndarray:
    rest = (np.arange(NUM_RESTS) + 0.5) / NUM_RESTS * tick
    horizons = np.array(HORIZONS) * tick
    # The present tick starts at the arrival, those ahead start when its rest is over.
    start = np.maximum(rest[:, None] + horizons - tick, 0.0)
    end = rest[:, None] + horizons
    lived = _lived(ages, survival, end.ravel()) - _lived(ages, survival, start.ravel())
    return lived.reshape(len(survival), *start.shape) / tick
