"""Timing alternatives side by side: in turns, so that a machine's drift meets all of them alike.

Numbers of two runs cannot be compared: the same network took 14 and, minutes later, 24 ms. Within a
round the ratios hold, and of several rounds the minimum is the number that other work on the
machine changes least.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

ROUNDS = 9
WARMUPS = 2
PAUSE = 0.03
"""Between turns [s]: the threads of some libraries spin that long after a call, and slow the next
one's."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What one alternative took.

    Attributes:
        samples: a latency for each round, in the order of the rounds [ms].
    """

    samples: tuple[float, ...]

    @property
    def min_ms(self) -> float:
        """The least latency [ms]."""
        return min(self.samples)

    @property
    def median_ms(self) -> float:
        """The median latency [ms]."""
        return statistics.median(self.samples)

    def ratios(self, other: Timing) -> tuple[float, ...]:
        """How many times longer this took than the other of the same measurement, each round."""
        return tuple(own / its for own, its in zip(self.samples, other.samples, strict=True))


def measure(
    alternatives: Mapping[str, Callable[[], object]],
    *,
    rounds: int = ROUNDS,
    warmups: int = WARMUPS,
    pause: float = PAUSE,
    budget_seconds: float | None = None,
    wait: Callable[[], object] = lambda: None,
) -> dict[str, Timing]:
    """Time alternatives in turns, one timed call of each in a round.

    Every second round goes backwards through the one before it, and every other one begins one
    alternative later, so that none always comes first or follows the same one.

    Args:
        alternatives: what is called, by its name.
        rounds: how many.
        warmups: calls before the timed one in each turn, which bring back what the alternatives
            before it have pushed out of the caches.
        pause: before each turn [s].
        budget_seconds: no round is begun after this time, or None; the first one always is [s].
        wait: waits for what a call has begun, as on a GPU; its time counts.

    Returns:
        The timing of each, in the order of `alternatives`, with as many samples as whole rounds.

    Raises:
        ValueError: there is no alternative or no round, or a number is negative.
    """
    if not alternatives or rounds < 1 or warmups < 0 or pause < 0:
        raise ValueError(
            "measuring needs an alternative, at least one round, and warmups and pause of 0 or"
            f" more; there are {len(alternatives)} alternatives, rounds={rounds},"
            f" warmups={warmups}, pause={pause}"
        )
    samples: dict[str, list[float]] = {name: [] for name in alternatives}
    begin = time.perf_counter()
    for number, order in enumerate(_orders(list(alternatives), rounds)):
        spent = time.perf_counter() - begin
        if number and budget_seconds is not None and spent >= budget_seconds:
            break
        for name in order:
            time.sleep(pause)
            samples[name].append(_timed(alternatives[name], warmups, wait))
    return {name: Timing(samples=tuple(values)) for name, values in samples.items()}


def _orders(names: Sequence[str], rounds: int) -> Iterator[list[str]]:
    for number in range(rounds):
        first = number // 2 % len(names)
        order = [*names[first:], *names[:first]]
        yield order[::-1] if number % 2 else order


def _timed(function: Callable[[], object], warmups: int, wait: Callable[[], object]) -> float:
    """The latency of the call that follows the warm-ups [ms]."""
    for _ in range(warmups):
        function()
    wait()
    begin = time.perf_counter()
    function()
    wait()
    return 1e3 * (time.perf_counter() - begin)
