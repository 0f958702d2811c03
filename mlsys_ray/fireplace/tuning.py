"""Tuning of a policy's weights on training traces, by CMA-ES."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count

import numpy as np

from mlsys_ray.fireplace.policies.base import Policy
from mlsys_ray.fireplace.workload import Workload


@dataclass(frozen=True, eq=False)
class Tuned:
    """The outcome of a search.

    Attributes:
        vector: float64 `[n]`, the best parameters.
        par: their mean PAR over the training traces.
        history: best PAR after each generation.
    """

    vector: np.ndarray
    par: float
    history: list[float]


def tune(
    build: Callable[[np.ndarray], Policy],
    start: np.ndarray,
    workloads: Sequence[Workload],
    *,
    step: float = 0.3,
    evaluations: int = 300,
    seed: int = 0,
    on_generation: Callable[[int, float], None] = lambda done, best: None,
) -> Tuned:
    """Find the parameters of the least mean PAR by CMA-ES (Hansen and Ostermeier, 2001).

    Args:
        build: makes the policy of a parameter vector.
        start: float64 `[n]`, where the search starts; it is evaluated, too.
        workloads: every vector is evaluated on all of them.
        step: first standard deviation of the search, in the vector's unit.
        evaluations: vectors tried, about.
        seed: of the search.
        on_generation: called with the evaluations done and the best PAR so far.

    Raises:
        ValueError: no workload is given, or fewer than 1 evaluation.
    """
    from cmaes import CMA

    if not workloads or evaluations < 1:
        raise ValueError(
            f"{len(workloads)} workloads and {evaluations} evaluations; both must be at least 1"
        )

    def par(vector: np.ndarray) -> float:
        return float(np.mean([workload.par(build(vector)) for workload in workloads]))

    search = CMA(mean=np.asarray(start, dtype=float), sigma=step, seed=seed)
    best, best_par = np.asarray(start, dtype=float), par(start)
    history = [best_par]
    done = 1
    # The compiled simulator lets go of the interpreter lock.
    with ThreadPoolExecutor(cpu_count()) as pool:
        while done < evaluations and not search.should_stop():
            asked = [search.ask() for _ in range(search.population_size)]
            pars = list(pool.map(par, asked))
            search.tell(list(zip(asked, pars, strict=True)))
            done += len(asked)
            if min(pars) < best_par:
                best_par = min(pars)
                best = asked[int(np.argmin(pars))]
            history.append(best_par)
            on_generation(done, best_par)
    return Tuned(best, best_par, history)
