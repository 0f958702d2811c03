"""What detection says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """Who lied, as far as disagreements show it.

    Attributes:
        liars: workers found lying.
        at_large: most liars that can be among the others; None: no such number is known.
    """

    liars: frozenset[int] = frozenset()
    at_large: int | None = None

    @property
    def enough(self) -> int | None:
        """Equal copies that prove a gradient to be the true one, if any number does."""
        return None if self.at_large is None else self.at_large + 1


NOBODY = Verdict()
"""Where nobody was found and nothing is known."""
