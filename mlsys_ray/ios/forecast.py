"""How much longer a search will measure, by what its blocks have taken so far."""

from __future__ import annotations

from collections.abc import Sequence

PRIOR_SHARE = 0.02
"""Of the stages that may be measured, those that are: most are never on a best path."""
PRIOR_STAGES = 200
"""Weight of both guesses made beforehand [stages that may be measured]."""


class Forecast:
    """Says how long the rest takes.

    Args:
        candidates: of each block, how many stages may have to be measured.
        seconds: what measuring one of its stages may take, for each block [s].
    """

    def __init__(self, candidates: Sequence[int], seconds: Sequence[float]) -> None:
        self._candidates, self._guesses = list(candidates), list(seconds)
        self._measured = [0] * len(candidates)
        self._spent = 0.0
        self._guessed = 0.0
        self._finished = 0

    def measured(self, block: int, number: int, seconds: float) -> None:
        """So many stages of a block have been measured now, in so much time [s]."""
        self._measured[block] += number
        self._spent += seconds
        self._guessed += number * self._guesses[block]

    def finished(self, block: int) -> None:
        """A block is done, and with it all that stand before it."""
        self._finished = block + 1

    def left(self) -> float:
        """What is expected from here on [s]."""
        done = slice(self._finished)
        prior = PRIOR_SHARE * PRIOR_STAGES
        share = (prior + sum(self._measured[done])) / (PRIOR_STAGES + sum(self._candidates[done]))
        # How far the guesses of a stage's time were off, the first ones still weighing in.
        weight = 1e-3 + self._guessed
        pace = (1e-3 + self._spent) / weight
        total = 0.0
        for block in range(self._finished, len(self._candidates)):
            expected = min(share * self._candidates[block], self._candidates[block])
            total += max(expected - self._measured[block], 0.0) * self._guesses[block]
        return pace * total


def duration(seconds: float) -> str:
    """A time for people."""
    if seconds < 1:
        return "less than a second"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
