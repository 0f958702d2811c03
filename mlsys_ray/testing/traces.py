"""Hypothesis strategies of small traces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from mlsys_ray.fireplace.trace import Trace, ticks_touched


@st.composite
def traces(
    draw: Callable[..., Any],
    max_vms: int = 12,
    max_ticks: int = 8,
    resources: tuple[str, ...] = ("cpu", "memory"),
) -> Trace:
    """Any small trace, ends at ticks' borders and equal times included."""
    tick = draw(st.sampled_from([1.0, 10.0]))
    n = draw(st.integers(1, max_vms))
    times = st.integers(0, 4 * max_ticks).map(lambda quarter: quarter * tick / 4)
    arrival = np.sort([draw(times) for _ in range(n)])
    lives = st.integers(1, 2 * max_ticks).map(lambda quarter: quarter * tick / 4)
    end = arrival + np.array([draw(lives) for _ in range(n)])
    counts = ticks_touched(arrival, end, tick)
    offset = np.concatenate([[0], np.cumsum(counts)])
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    functions = draw(st.integers(0, 3))
    return Trace(
        name="made",
        tick=tick,
        resources=resources,
        arrival=arrival,
        end=end,
        request=rng.integers(1, 5, (n, len(resources))),
        function=rng.integers(-1, functions, n) if functions else np.full(n, -1),
        functions=tuple(f"f{i}" for i in range(functions)),
        use=rng.random((offset[-1], len(resources))),
        use_offset=offset,
    )
