"""Workers that disagree with more than q others, over a window of iterations."""

from __future__ import annotations

import numpy as np

from mlsys_ray.byzshield.detection.agreement import Agreement

WINDOW = 15


class DegreeDetector:
    """Flags workers by their degree in the graph of those never seen to disagree (Aspis+).

    A worker that disagrees with an honest one loses that edge until the window of T_d iterations
    ends. An honest worker loses edges to Byzantine ones only, at most q; who has lost more lies.

    Args:
        num_workers: K.
        num_byzantine: q, the most that may lie.
        window: T_d [iterations].
    """

    def __init__(self, num_workers: int, num_byzantine: int, window: int = WINDOW) -> None:
        self._num_byzantine = num_byzantine
        self._window = window
        self._enemies = np.zeros((num_workers, num_workers), dtype=bool)
        self._flagged: list[int] = []

    def observe(self, iteration: int, found: Agreement) -> frozenset[int]:
        """Take the agreement of an iteration into account.

        Returns:
            The flagged workers; of more than q, those flagged last.
        """
        if iteration % self._window == 0:
            self._enemies[:] = False
        self._enemies |= found.disagree
        for worker in np.flatnonzero(self._enemies.sum(axis=1) > self._num_byzantine).tolist():
            if worker in self._flagged:
                self._flagged.remove(worker)
            self._flagged.append(worker)
        self._flagged = self._flagged[-self._num_byzantine :] if self._num_byzantine else []
        return frozenset(self._flagged)

    def restore(self, state: np.ndarray) -> None:
        """Go on from what `state` gave."""
        self._enemies = state[:-1].astype(bool)
        order = state[-1]
        self._flagged = [int(w) for w in np.argsort(order, kind="stable") if order[w] > 0]

    def state(self) -> np.ndarray:
        """All that was learned, int64 `[K + 1, K]`: lost edges, then the order of flagging."""
        order = np.zeros(len(self._enemies), dtype=np.int64)
        for position, worker in enumerate(self._flagged, start=1):
            order[worker] = position
        return np.vstack([self._enemies.astype(np.int64), order])
