"""Greedy and beam search with a value function; nothing is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlsys_ray.value_learning.search.base import (
    Actions,
    Candidate,
    Clock,
    Found,
    NoSolutionError,
    S,
    Value,
    complete_plainly,
    starts_of,
)

CHUNK = 512
"""States scored between two looks at the clock."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BeamConfig:
    """How the search goes.

    Attributes:
        width: states kept after each decision; 1 is greedy search.
        budget: seconds until the best so far is completed plainly.
        keep: complete states returned at most.
        noise: standard deviation of what is added to values, for exploration.
        seed: of the noise.
    """

    width: int = 8
    budget: float = 1.0
    keep: int = 8
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check values.

        Raises:
            ValueError: a value makes no sense.
        """
        for name in ("width", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.noise < 0:
            raise ValueError(f"noise must not be negative, not {self.noise}")


def beam_search(
    start: S | Sequence[S],
    actions: Actions[S],
    value: Value[S],
    config: BeamConfig | None = None,
) -> Found[S]:
    """Find complete states of low value, from one state or the best of several.

    When the budget is spent in mid-search, the best states so far are completed by the plainest
    actions, so that there is always an answer.

    Raises:
        NoSolutionError: no complete state can be reached.
    """
    config = config or BeamConfig()
    clock = Clock(config.budget)
    scorer = _Scorer(value, clock, config)
    starts = starts_of(start)
    beam = [Candidate(state, np.inf) for state in starts]
    complete: list[Candidate[S]] = []
    while beam and not clock.is_over():
        successors: dict[S, None] = {}
        for candidate in beam:
            # A beam whose first state is expanded only is greedy search, better than none.
            if clock.is_over() and successors:
                break
            for action in actions(candidate.state):
                successors[candidate.state.take(action)] = None
        scored = scorer.score(list(successors))
        if not scored:
            break
        complete += [c for c in scored if c.state.is_complete]
        beam = [c for c in scored if not c.state.is_complete][: config.width]
    timed_out = bool(beam) and clock.is_over()
    if not complete:
        complete = [_plain(starts, beam, actions)]
    complete.sort(key=lambda candidate: candidate.log_ms)
    return Found(tuple(complete[: config.keep]), scorer.num_scored, clock.seconds, timed_out)


def greedy_search(start: S, actions: Actions[S], value: Value[S], budget: float = 1.0) -> Found[S]:
    """Beam search of width 1."""
    return beam_search(start, actions, value, BeamConfig(width=1, budget=budget))


def _plain(starts: Sequence[S], beam: Sequence[Candidate[S]], actions: Actions[S]) -> Candidate[S]:
    """The best state so far, or else a start, completed by the plainest actions."""
    for candidate in (*beam, *(Candidate(state, np.inf) for state in starts)):
        state = complete_plainly(candidate.state, actions)
        if state is not None:
            return Candidate(state, candidate.log_ms)
    raise NoSolutionError(f"no complete state can be reached from {starts!r}")


class _Scorer:
    def __init__(self, value: Value, clock: Clock, config: BeamConfig) -> None:
        self._value, self._clock, self._noise = value, clock, config.noise
        self._rng = np.random.default_rng(config.seed)
        self.num_scored = 0

    def score(self, states: list[S]) -> list[Candidate[S]]:
        """Candidates, the best first; those that there was no time for are left out."""
        scored: list[Candidate[S]] = []
        for begin in range(0, len(states), CHUNK):
            if scored and self._clock.is_over():
                break
            chunk = states[begin : begin + CHUNK]
            values = np.asarray(self._value(chunk), np.float64)
            if self._noise:
                values = values + self._noise * self._rng.standard_normal(len(chunk))
            scored += map(Candidate, chunk, values.tolist())
            self.num_scored += len(chunk)
        return sorted(scored, key=lambda candidate: candidate.log_ms)
