"""What all searches have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np


class SearchState(Protocol):
    """A partial solution; hashable."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to decide."""

    def take(self, action: Any, /) -> Self:
        """The state after one more decision."""


S = TypeVar("S", bound=SearchState)

Value = Callable[[Sequence[S]], np.ndarray]
"""From states to logarithms of the best runtimes reachable from them, float [B]."""
Actions = Callable[[S], Sequence[Any]]
"""The legal decisions in a state, the plainest first; none where the state leads nowhere."""
Measure = Callable[[S], float | None]
"""From a complete state to its runtime [ms]; None where it could not be measured."""


@dataclass(frozen=True, eq=False)
class Candidate(Generic[S]):
    """A complete state and what is known of it.

    Attributes:
        state: the solution.
        log_ms: logarithm of its runtime in ms, predicted or measured; infinite where unknown.
    """

    state: S
    log_ms: float


@dataclass(frozen=True, eq=False)
class Found(Generic[S]):
    """The outcome of a search.

    Attributes:
        candidates: complete states, the best first; at least one.
        evaluated: states scored, or measured where the search measures.
        seconds: it took.
        timed_out: the budget ended it, so that it might have found better.
        history: (seconds since the start, best runtime so far [ms]) for searches that measure.
    """

    candidates: tuple[Candidate[S], ...]
    evaluated: int
    seconds: float
    timed_out: bool
    history: tuple[tuple[float, float], ...] = field(default=())

    @property
    def best(self) -> Candidate[S]:
        """The first candidate."""
        return self.candidates[0]


class NoSolutionError(RuntimeError):
    """No complete state can be reached."""


class Clock:
    """Time since it was made, and a budget [s]."""

    def __init__(self, budget: float) -> None:
        if budget <= 0:
            raise ValueError(f"a budget must be above 0 s, not {budget}")
        self._start = time.perf_counter()
        self._budget = budget

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self._start

    def is_over(self) -> bool:
        """Whether the budget is spent."""
        return self.seconds >= self._budget


def starts_of(start: S | Sequence[S]) -> Sequence[S]:
    """Where a search begins: one state, or several of which the best counts."""
    return start if isinstance(start, Sequence) else [start]


def complete_plainly(state: S, actions: Actions[S]) -> S | None:
    """Follow the first legal action of each state; None where that leads nowhere.

    Backs up where a state has no legal action, so a complete state is found if there is one.
    """
    if state.is_complete:
        return state
    for action in actions(state):
        found = complete_plainly(state.take(action), actions)
        if found is not None:
            return found
    return None


def complete_randomly(state: S, actions: Actions[S], rng: np.random.Generator) -> S | None:
    """Follow random legal actions; None where they lead nowhere."""
    while not state.is_complete:
        choices = actions(state)
        if not choices:
            return None
        state = state.take(choices[int(rng.integers(len(choices)))])
    return state
