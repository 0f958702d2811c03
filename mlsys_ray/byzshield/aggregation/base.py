"""What a robust aggregation rule is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from mlsys_ray.byzshield.aggregation.rows import Rows, usable


class AggregationRule(ABC):
    """Maps the votes of an iteration to one gradient.

    A rule is a small immutable value and keeps no state between iterations. To write one, derive
    from `LinearRule` (a weighted sum, weights from distances), `CoordinatewiseRule` (every
    coordinate by itself) or `DenseRule` (anything else), and test it with
    `mlsys_ray.testing.AggregationRuleTests`.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    """Where the rule was published."""
    condition: ClassVar[str]
    """What n and c must satisfy, as `tolerance` has it."""

    @property
    def num_byzantine(self) -> int:
        """Byzantine inputs c that the rule reckons with; 0 where it need not know."""
        return 0

    def with_byzantine(self, num_byzantine: int) -> Self:
        """The rule told c; itself where it need not know."""
        return self

    @abstractmethod
    def tolerance(self, num_gradients: int) -> int:
        """Byzantine inputs among `num_gradients` that the rule stands."""

    @abstractmethod
    def combine_rows(self, rows: Rows) -> np.ndarray | None:
        """Combine n >= 1 rows into a new float32 `[d]`.

        None asks for a screening: the rows are not screened, and some may not be `usable`. Whether
        c is within `tolerance` was settled when the rule was made, so a rule computes something
        for any n: after erasures it gets fewer rows than were promised.
        """

    def aggregate(self, gradients: np.ndarray) -> np.ndarray:
        """Combine float32 `[n, d]`, n >= 1, into a new float32 `[d]`; the input is not changed.

        Rows that are not `usable` (NaN, infinite, longer than 1.8e19) are dropped, each counting
        as one Byzantine input less to reckon with. Rules notice such rows while they read, so this
        costs no pass of its own.

        Raises:
            ValueError: the input is not float32 `[n, d]`, or no row is usable.
        """
        rows = Rows.of(gradients)
        result = self.combine_rows(rows)
        if result is not None:
            return result
        kept = rows.take(usable(rows), screened=True)
        if not len(kept):
            raise ValueError(f"{self.name}: none of the {len(rows)} gradients has a finite norm")
        remaining = max(0, self.num_byzantine - (len(rows) - len(kept)))
        result = self.with_byzantine(remaining).combine_rows(kept)
        assert result is not None
        return result


@dataclass(frozen=True)
class ToldByzantine:
    """Mixed into rules and pre-aggregators that need c.

    Attributes:
        num_byzantine: Byzantine inputs c to reckon with.

    Raises:
        ValueError: `num_byzantine` is negative.
    """

    num_byzantine: int = 0

    def __post_init__(self) -> None:
        if self.num_byzantine < 0:
            raise ValueError(f"num_byzantine is {self.num_byzantine}, must be at least 0")

    def with_byzantine(self, num_byzantine: int) -> Self:
        """The same with another c."""
        return replace(self, num_byzantine=num_byzantine)

    def minority(self, num_gradients: int) -> int:
        """The c to compute with among n inputs: never so many that nobody honest is left over."""
        return min(self.num_byzantine, (num_gradients - 1) // 2)


class DenseRule(AggregationRule):
    """A rule that needs the whole array at once."""

    @abstractmethod
    def combine(self, gradients: np.ndarray) -> np.ndarray:
        """Combine usable float32 `[n, d]`, n >= 1, into a new float32 `[d]`."""

    def combine_rows(self, rows: Rows) -> np.ndarray | None:
        """See `AggregationRule.combine_rows`."""
        if not rows.screened and not usable(rows).all():
            return None
        return self.combine(rows.columns(0, rows.dimension))
