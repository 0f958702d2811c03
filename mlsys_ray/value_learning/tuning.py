"""Schedules that the value network proposes, refined by measuring them for some seconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlsys_ray.value_learning.features import featurise
from mlsys_ray.value_learning.measuring import Measurer
from mlsys_ray.value_learning.operators import Pipeline
from mlsys_ray.value_learning.search.base import complete_plainly
from mlsys_ray.value_learning.search.beam import BeamConfig, beam_search
from mlsys_ray.value_learning.search.evolutionary import evolutionary_search
from mlsys_ray.value_learning.space import Schedule, State, initial, legal_actions, schedule_of
from mlsys_ray.value_learning.value_network.model import ValueNetwork, value_of

FIRST = 8
"""Schedules that are measured before mutations of the fastest ones are."""
MAX_TRIALS = 10_000
"""More than any budget allows for."""


@dataclass(frozen=True, eq=False)
class Tuned:
    """The fastest schedule that was measured.

    Attributes:
        schedule: for the measurer's target.
        min_ms: its shortest run [ms].
        measured: schedules that were compiled and run.
    """

    schedule: Schedule
    min_ms: float
    measured: int


def tune(
    pipeline: Pipeline,
    network: ValueNetwork | None,
    measurer: Measurer,
    config: BeamConfig,
    seconds: float,
) -> Tuned:
    """Search by the value network, measure its best finds, then mutations of the fastest ones.

    Weights stay as they are: the schedule has no panels.

    Args:
        pipeline: what is scheduled.
        network: the value function; without one random schedules are measured first.
        measurer: of the target.
        config: of the search that measures nothing.
        seconds: for what is measured; finds of the search, and the plainest schedule after them,
            are measured in any case until one runs.

    Raises:
        RuntimeError: no schedule could be measured; the message says why the last one could not.
    """
    start = initial(pipeline, measurer.target)
    proposed: list[State | None] = []
    if network is not None:
        found = beam_search(start, legal_actions, value_of(network, featurise), config)
        proposed = [candidate.state for candidate in found.candidates]
    proposed.append(complete_plainly(start, legal_actions))
    failure = ""

    def measure(state: State) -> float | None:
        nonlocal failure
        measured = measurer.measure(pipeline, schedule_of(state))
        if measured.status == "ok":
            return measured.min_ms
        failure = f"{measured.status}: {measured.error_message}"
        return None

    refined = evolutionary_search(
        start,
        legal_actions,
        measure,
        trials=MAX_TRIALS,
        budget=seconds,
        known=[state for state in proposed if state is not None],
        first=max(len(proposed), FIRST),
        keep=1,
    )
    if not np.isfinite(refined.best.log_ms):
        raise RuntimeError(f"no schedule could be measured: {failure}")
    return Tuned(
        schedule_of(refined.best.state), float(np.exp(refined.best.log_ms)), refined.evaluated
    )
