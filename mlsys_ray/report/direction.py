"""Which way a metric is better, read from its name."""

from __future__ import annotations

from typing import Literal

Direction = Literal["higher", "lower"]

_HIGHER = {
    "accuracy",
    "bandwidth",
    "f1",
    "gain",
    "iops",
    "precision",
    "r2",
    "recall",
    "reward",
    "score",
    "speedup",
    "throughput",
    "utilisation",
    "utilization",
}
_LOWER = {
    "bytes",
    "delay",
    "distortion",
    "duration",
    "epsilon",
    "error",
    "errors",
    "failures",
    "latency",
    "loss",
    "memory",
    "milliseconds",
    "misses",
    "ms",
    "nanoseconds",
    "overhead",
    "perplexity",
    "regret",
    "runtime",
    "seconds",
    "time",
}


def better_direction(metric: str) -> Direction | None:
    """Whether a higher or a lower value of `metric` is better; None if its name does not tell.

    A name counts by its words. Rates end in "per_second"; a name with words of both kinds, such as
    "time_to_accuracy", is not guessed.

    >>> better_direction("test_accuracy"), better_direction("seconds_vote")
    ('higher', 'lower')
    >>> better_direction("images_per_second"), better_direction("num_files")
    ('higher', None)
    """
    if metric.endswith("per_second"):
        return "higher"
    words = set(metric.lower().replace("-", "_").replace(".", "_").split("_"))
    higher, lower = bool(words & _HIGHER), bool(words & _LOWER)
    if higher == lower:
        return None
    return "higher" if higher else "lower"
