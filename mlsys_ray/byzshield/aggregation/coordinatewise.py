"""Rules that treat every coordinate by itself."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import numpy as np

from mlsys_ray.byzshield.aggregation.base import AggregationRule
from mlsys_ray.byzshield.aggregation.compiled import load_kernels
from mlsys_ray.byzshield.aggregation.rows import Rows, usable


class CoordinatewiseRule(AggregationRule):
    """A rule whose output in a coordinate depends on the inputs' values there only."""

    @abstractmethod
    def combine_columns(self, columns: np.ndarray) -> np.ndarray:
        """Combine usable float32 `[n, m]`, a slice of the columns, into a new float32 `[m]`."""

    def compiled(self, num_gradients: int) -> tuple[str, int] | None:
        """Kernel of `compiled.kernels.reduce_rows` and its `dropped`; None where there is none."""
        return None

    def combine_rows(self, rows: Rows) -> np.ndarray | None:
        """See `AggregationRule.combine_rows`."""
        return combine_by_column(rows, self.compiled(len(rows)), self.combine_columns)


def combine_by_column(
    rows: Rows,
    compiled: tuple[str, int] | None,
    combine_columns: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray | None:
    """Apply a coordinate-wise function, compiled where possible; None asks for a screening."""
    kernels = load_kernels()
    if kernels and compiled and kernels.supports(len(rows), rows.dimension):
        kernel, dropped = compiled
        result, finite = kernels.reduce_rows(kernel, rows.addresses(), rows.dimension, dropped)
        return result if finite or rows.screened else None
    if not rows.screened and not usable(rows).all():
        return None
    out = np.empty(rows.dimension, dtype=np.float32)
    for start, stop, columns in rows.chunks():
        out[start:stop] = combine_columns(columns)
    return out
