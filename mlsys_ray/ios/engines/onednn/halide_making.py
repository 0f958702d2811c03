"""Has value learning schedule the operators of a network that weigh, within a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mlsys_ray.ios.engines.onednn.halide import Pipelines
from mlsys_ray.ios.engines.onednn.network import Network

LEAST_SHARE = 0.002
"""Of the network's time: operators that take less are left to other kernels."""


@dataclass
class _Wanted:
    """A kernel that is missing, and what the operators that it is for take together [s]."""

    pipelines: Pipelines
    seconds: float = 0.0


def make_kernels(
    network: Network,
    operator_seconds: np.ndarray,
    *,
    seconds_each: float,
    seconds_in_all: float,
    say: Callable[[str], None] = lambda _: None,
) -> int:
    """Make the kernels that are missing, those for the heaviest operators first; gives how many.

    Args:
        network: whose operators they are for; it knows them afterwards.
        operator_seconds: what each operator takes by other kernels, float64 `[n]` [s].
        seconds_each: for measuring schedules of one kernel.
        seconds_in_all: after which no further kernel is begun.
        say: told what happens.
    """
    if network.without_halide:
        say(f"no kernels by Halide: {network.without_halide}")
        return 0
    wanted: dict[tuple[str, str], _Wanted] = {}
    for operator, taken in enumerate(operator_seconds):
        for pipelines in network.missing_halide(operator):
            wanted.setdefault(pipelines.key, _Wanted(pipelines)).seconds += float(taken)
    least = LEAST_SHARE * float(operator_seconds.sum())
    heavy = sorted((w for w in wanted.values() if w.seconds > least), key=lambda w: -w.seconds)
    if not heavy:
        return 0
    begin, made = time.monotonic(), 0
    say(
        f"Halide: {len(heavy)} kernels to schedule and compile, {seconds_each:g} s each, at most"
        f" {seconds_in_all:g} s"
    )
    with network.making_halide(seconds_each) as make:
        for number, one in enumerate(heavy, start=1):
            if time.monotonic() - begin > seconds_in_all:
                say(f"Halide: time is up, {len(heavy) - number + 1} kernels are left out")
                break
            kernel = make(one.pipelines.whole, one.pipelines.part)
            stages = ", ".join(type(n.operator).__name__ for n in one.pipelines.part.nodes)
            came = f"{kernel.measured} schedules tried" if kernel else "failed"
            say(f"Halide: kernel {number} of {len(heavy)} ({stages}): {came}")
            made += kernel is not None
    return made
