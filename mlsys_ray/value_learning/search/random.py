"""Random schedules, measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mlsys_ray.value_learning.search.base import (
    Actions,
    Candidate,
    Clock,
    Found,
    Measure,
    NoSolutionError,
    S,
    complete_plainly,
    complete_randomly,
    starts_of,
)

TRIES = 50
"""Random walks in a row that lead nowhere new until the space counts as exhausted."""


def random_search(
    start: S | Sequence[S],
    actions: Actions[S],
    measure: Measure[S],
    *,
    trials: int,
    budget: float = math.inf,
    seed: int = 0,
    keep: int = 8,
) -> Found[S]:
    """Measure different complete states drawn by random walks.

    Args:
        start: where walks begin, or several states of which each walk draws one.
        actions: legal ones.
        measure: runtime of a complete state.
        trials: measurements at most.
        budget: seconds at most.
        seed: of the walks.
        keep: complete states returned at most.

    Raises:
        NoSolutionError: none could be measured and no complete state is reached plainly either.
    """
    rng, starts = np.random.default_rng(seed), starts_of(start)
    record = Record(measure, Clock(budget))
    misses = 0
    while record.num_measured < trials and not record.clock.is_over() and misses < TRIES:
        state = complete_randomly(starts[int(rng.integers(len(starts)))], actions, rng)
        if state is None or state in record:
            misses += 1
            continue
        misses = 0
        record.measure(state)
    return record.found(starts[0], actions, keep)


class Record:
    """What has been measured in one search; no state twice."""

    def __init__(self, measure: Measure, clock: Clock) -> None:
        self.clock = clock
        self._measure = measure
        self._runtimes: dict = {}
        self._history: list[tuple[float, float]] = []

    def __contains__(self, state: object) -> bool:
        return state in self._runtimes

    @property
    def num_measured(self) -> int:
        """States measured, failed ones included."""
        return len(self._runtimes)

    def measure(self, state: S) -> float:
        """Runtime of a state [ms]; infinite where it could not be measured."""
        if state not in self._runtimes:
            runtime = self._measure(state)
            self._runtimes[state] = math.inf if runtime is None else runtime
            best = min(self._runtimes.values())
            if not self._history or best < self._history[-1][1]:
                self._history.append((self.clock.seconds, best))
        return self._runtimes[state]

    def best(self, count: int) -> list:
        """The fastest states that could be measured."""
        known = [state for state, runtime in self._runtimes.items() if runtime < math.inf]
        return sorted(known, key=self._runtimes.__getitem__)[:count]

    def found(self, start: S, actions: Actions[S], keep: int) -> Found[S]:
        """The outcome; a plain complete state if none was measured.

        Raises:
            NoSolutionError: there is none.
        """
        candidates = [
            Candidate(state, math.log(self._runtimes[state])) for state in self.best(keep)
        ]
        if not candidates:
            plain = complete_plainly(start, actions)
            if plain is None:
                raise NoSolutionError(f"no complete state can be reached from {start!r}")
            candidates = [Candidate(plain, math.inf)]
        return Found(
            tuple(candidates),
            self.num_measured,
            self.clock.seconds,
            self.clock.is_over(),
            tuple(self._history),
        )
