"""How good a placement is: the peak-to-average ratio (PAR) of use across PMs, and overload."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WARM_UP = 0.2
"""The part of the ticks, from the first on, that is not scored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """Scores of a run over its ticks after the warm-up.

    Attributes:
        par: mean over ticks and resources of max_p u / mean_p u.
        par_by_resource: the same of each resource, `[D]`.
        par_p95: mean over resources of the 95th percentile over ticks.
        par_busiest: mean over resources of the PAR in the tenth of the ticks with most use.
        overload: part of the PM-ticks in which a resource is used above the PM's capacity.
        overload_excess: mean use above the capacity in those, as a part of it; 0 without any.
    """

    par: float
    par_by_resource: tuple[float, ...]
    par_p95: float
    par_busiest: float
    overload: float
    overload_excess: float


def peak_to_average(load: np.ndarray) -> np.ndarray:
    """PAR of each tick and resource.

    Args:
        load: float `[T, P, D]`, use as a part of each PM's capacity.

    Returns:
        float64 `[T, D]`, at least 1; nan where nothing is used.
    """
    mean = load.mean(axis=1)
    return np.divide(load.max(axis=1), mean, out=np.full(mean.shape, np.nan), where=mean > 0)


def warm_up_ticks(num_ticks: int) -> int:
    """Ticks at the start of a trace that are not scored."""
    return int(WARM_UP * num_ticks)


def score(load: np.ndarray) -> Score:
    """Score the loads of a run.

    Args:
        load: float `[T, P, D]`, use as a part of each PM's capacity.

    Raises:
        ValueError: a resource is not used at all after the warm-up.
    """
    scored = load[warm_up_ticks(len(load)) :]
    par = peak_to_average(scored)
    if np.isnan(par).all(axis=0).any():
        raise ValueError("nothing is used after the warm-up; the trace is too short to be scored")
    mean = scored.mean(axis=1)
    busiest = np.where(mean >= np.quantile(mean, 0.9, axis=0), par, np.nan)
    over = scored[scored > 1]
    by_resource = np.nanmean(par, axis=0)
    return Score(
        par=float(by_resource.mean()),
        par_by_resource=tuple(by_resource.tolist()),
        par_p95=float(np.nanquantile(par, 0.95, axis=0).mean()),
        par_busiest=float(np.nanmean(busiest, axis=0).mean()),
        overload=float((scored > 1).any(axis=2).mean()),
        overload_excess=float(over.mean() - 1) if len(over) else 0.0,
    )
