"""A rule behind pre-aggregators."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from mlsys_ray.byzshield.aggregation.base import AggregationRule
from mlsys_ray.byzshield.aggregation.coordinatewise import CoordinatewiseRule
from mlsys_ray.byzshield.aggregation.geometry import Points, measure
from mlsys_ray.byzshield.aggregation.linear import LinearRule
from mlsys_ray.byzshield.aggregation.preaggregation.base import PreAggregator
from mlsys_ray.byzshield.aggregation.rows import Rows


@dataclass(frozen=True)
class Composed(AggregationRule):
    """Pre-aggregators in their order, then a rule; `nnm+median` by name.

    Behind it a linear rule only adds weights and a coordinate-wise one works in slices, so neither
    needs a second copy of the inputs; other rules do.

    Attributes:
        pre: the pre-aggregators.
        rule: what combines their output.
    """

    pre: tuple[PreAggregator, ...]
    rule: AggregationRule

    @property
    def _parts(self) -> tuple[PreAggregator | AggregationRule, ...]:
        return (*self.pre, self.rule)

    @property
    def name(self) -> str:  # type: ignore[override]  # of the instance, as are its parts
        """The parts' names."""
        return "+".join(part.name for part in self._parts)

    @property
    def source(self) -> str:  # type: ignore[override]
        """The parts' sources."""
        return "; ".join(part.source for part in self._parts)

    @property
    def condition(self) -> str:  # type: ignore[override]
        """The rule's condition on what it is given."""
        return f"{self.rule.condition}, n counted behind {'+'.join(p.name for p in self.pre)}"

    @property
    def num_byzantine(self) -> int:
        """The parts' c."""
        return max(part.num_byzantine for part in self._parts)

    def with_byzantine(self, num_byzantine: int) -> Self:
        """All parts told c."""
        pre = tuple(part.with_byzantine(num_byzantine) for part in self.pre)
        return replace(self, pre=pre, rule=self.rule.with_byzantine(num_byzantine))

    def tolerance(self, num_gradients: int) -> int:
        """The rule's tolerance for what the pre-aggregators give it."""
        outputs = num_gradients
        for part in self.pre:
            outputs = part.num_outputs(outputs)
        return self.rule.tolerance(outputs)

    def combine_rows(self, rows: Rows) -> np.ndarray | None:
        """See `AggregationRule.combine_rows`."""
        points = measure(rows)
        if points is None:
            return None
        mixing, mixed = self._mix(points)
        if isinstance(self.rule, LinearRule):
            return rows.weighted_sum(self.rule.weights(mixed) @ mixing)
        narrow = mixing.astype(np.float32)
        if isinstance(self.rule, CoordinatewiseRule):
            out = np.empty(rows.dimension, dtype=np.float32)
            for start, stop, columns in rows.chunks():
                part = Rows.of(narrow @ columns, screened=True)
                out[start:stop] = self.rule.combine_rows(part)
            return out
        dense = narrow @ rows.columns(0, rows.dimension)
        return self.rule.combine_rows(Rows.of(dense, screened=True))

    def _mix(self, points: Points) -> tuple[np.ndarray, Points]:
        """Weights of the inputs in the last pre-aggregator's outputs, and where these lie."""
        mixing = np.eye(len(points))
        for part in self.pre:
            step = part.mixing(points)
            mixing, points = step @ mixing, points.mixed(step)
        return mixing, points
