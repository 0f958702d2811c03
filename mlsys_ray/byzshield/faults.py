"""Faults injected into workers, to see that a run survives them."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

FAULTS = ("nan", "shape", "dtype", "error", "slow")


def parse_faults(faults: Sequence[str], num_workers: int) -> dict[int, str]:
    """Read `worker:kind` items.

    Returns:
        The kind of fault by worker.

    Raises:
        ValueError: an item has another form, an unknown kind or a worker that does not exist.

    >>> parse_faults(["3:nan", "7:error"], num_workers=15)
    {3: 'nan', 7: 'error'}
    """
    parsed = {}
    for item in faults:
        worker, _, kind = item.partition(":")
        if not worker.isdecimal() or int(worker) >= num_workers or kind not in FAULTS:
            raise ValueError(
                f"fault is {item!r}, must be worker:kind with a worker below {num_workers}"
                f" and a kind of {', '.join(FAULTS)}"
            )
        parsed[int(worker)] = kind
    return parsed


def apply_fault(kind: str, gradient: np.ndarray, deadline: float) -> np.ndarray:
    """What a faulty worker returns instead of float32 `[d]`; a slow one takes two deadlines.

    Raises:
        RuntimeError: the fault is `error`.
    """
    if kind == "error":
        raise RuntimeError("injected fault")
    if kind == "slow":
        time.sleep(2 * deadline)
    if kind == "nan":
        return np.full_like(gradient, np.nan)
    if kind == "shape":
        return gradient[:-1]
    if kind == "dtype":
        return gradient.astype(np.float64)
    return gradient
