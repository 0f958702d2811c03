"""Detection by the number of workers that one disagreed with, over a window (Aspis+)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlsys_ray.byzshield.detection.base import Verdict


@dataclass(frozen=True)
class DegreeDetector:
    """Whoever disagreed with more than q workers lied (Konstantinidis et al. 2023, Aspis+).

    An honest worker disagrees with liars only, so with at most q as long as these do not change.
    In the paper's words: an edge of the agreement graph is gone as soon as an agreement is missed
    within the window of T_d iterations, and a worker of degree below K - q - 1 is flagged. If the
    liars do change there may be more of these; then the q that were flagged last count.

    Attributes:
        num_byzantine: q.
    """

    window: ClassVar[int] = 15
    num_byzantine: int

    def judge(self, history: np.ndarray) -> Verdict:
        """See `Detector.judge`."""
        q = self.num_byzantine
        flagged: list[int] = []
        for seen in np.logical_or.accumulate(history):
            degrees = seen.sum(axis=1)
            over = set(np.flatnonzero(degrees > q).tolist()).difference(flagged)
            flagged += sorted(over, key=lambda worker: (degrees[worker], worker))
        return Verdict(frozenset(flagged[max(0, len(flagged) - q) :]))
