"""The schedules that IOS is compared with (section 6.1)."""

from __future__ import annotations

from collections.abc import Sequence


def sequential(predecessors: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """One operator after another, as bit masks of stages."""
    return tuple(1 << operator for operator in range(len(predecessors)))


def greedy(predecessors: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """In each stage every operator whose inputs are ready, as bit masks of stages."""
    stages: list[int] = []
    done = 0
    everything = (1 << len(predecessors)) - 1
    while done != everything:
        ready = sum(
            1 << operator
            for operator, sources in enumerate(predecessors)
            if not done >> operator & 1 and all(done >> source & 1 for source in sources)
        )
        stages.append(ready)
        done |= ready
    return tuple(stages)
