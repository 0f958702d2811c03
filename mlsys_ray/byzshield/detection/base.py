"""What a detector looks at and what it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np


@dataclass(frozen=True)
class Verdict:
    """Who lied, as far as disagreements show it.

    Attributes:
        liars: workers found lying.
        at_large: most liars that can be among the others, so that a copy on which more of them
            agree is the true one; None: no such number is known.
    """

    liars: frozenset[int] = frozenset()
    at_large: int | None = None

    @property
    def enough(self) -> int | None:
        """Equal copies that prove a gradient to be the true one, if any number does."""
        return None if self.at_large is None else self.at_large + 1


NOBODY = Verdict()
"""Where nothing was looked for."""


class Detector(Protocol):
    """Finds liars among workers of which at most q lie, from who disagreed with whom.

    A detector is a small immutable value; what it remembers is given to it.
    """

    window: ClassVar[int]
    """Iterations that are judged together; after as many the history begins anew."""

    def judge(self, history: np.ndarray) -> Verdict:
        """Say who lied.

        Args:
            history: bool `[t, K, K]`, symmetric: who disagreed with whom in each iteration of the
                window so far, the present one last.
        """
