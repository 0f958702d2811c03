"""Good sets of Byzantine workers, fast and without proof."""

from __future__ import annotations

import numpy as np

from mlsys_ray.byzshield.assignment import Assignment

RESTARTS = 20


def local_search(assignment: Assignment, num_byzantine: int) -> tuple[int, tuple[int, ...]]:
    """Swap workers while that distorts more files, from several random sets of q >= 1 workers.

    Returns:
        (files distorted, sorted workers) of the best set found; the same at every call.
    """
    holds = assignment.biadjacency.astype(np.int16)
    generator = np.random.default_rng(0)
    best: tuple[int, tuple[int, ...]] = (-1, ())
    for _ in range(RESTARTS):
        order = generator.permutation(assignment.num_workers)
        inside, outside = order[:num_byzantine], order[num_byzantine:]
        score = _score(holds[inside].sum(axis=0), assignment.majority)
        while len(outside):
            without = holds[inside].sum(axis=0) - holds[inside]
            scores = _score(without[:, None] + holds[outside], assignment.majority)
            leave, enter = np.unravel_index(np.argmax(scores), scores.shape)
            if scores[leave, enter] <= score:
                break
            score = scores[leave, enter]
            inside[leave], outside[enter] = outside[enter], inside[leave]
        workers = tuple(sorted(inside.tolist()))
        value = int(assignment.distorted_by(workers).sum())
        best = max(best, (value, workers), key=lambda found: found[0])
    return best


def _score(holders: np.ndarray, majority: int) -> np.ndarray:
    """Files distorted, along the last axis; between equal sets, how near others are to it."""
    reached = np.minimum(holders, majority).astype(np.int64)
    weight = holders.shape[-1] * majority**2 + 1
    return (reached == majority).sum(axis=-1) * weight + (reached**2).sum(axis=-1)
