"""Where the inputs lie towards one another: all that many rules need to know of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mlsys_ray.byzshield.aggregation.compiled import load_kernels
from mlsys_ray.byzshield.aggregation.rows import Rows

_NEAR = 1e-2
"""Squared distances below this part of the squared norms are too rough [ratio].

|x - y|^2 = |x|^2 + |y|^2 - 2 x.y loses digits where the distance is small beside the norms; the
inner products are good to 1e-8.
"""


@dataclass(frozen=True, eq=False)
class Points:
    """n points known by their distances.

    Attributes:
        squared_norms: float64 `[n]`, squared distances to the origin.
        squared_distances: float64 `[n, n]`.
    """

    squared_norms: np.ndarray
    squared_distances: np.ndarray

    def __len__(self) -> int:
        return len(self.squared_norms)

    @cached_property
    def _with_origin(self) -> np.ndarray:
        """Squared distances among the points and the origin, float64 `[n + 1, n + 1]`."""
        column = np.append(self.squared_norms, 0.0)
        return np.vstack([np.column_stack([self.squared_distances, column[:-1]]), column])

    def distances_from(self, weights: np.ndarray) -> np.ndarray:
        """Distances of all points to sum_i weights_i x_i; float64 `[n]` to `[n]`."""
        barycentric = _complete(weights)
        to_all = self._with_origin @ barycentric
        squares = to_all[:-1] - barycentric @ to_all / 2
        return np.sqrt(np.maximum(squares, 0.0))

    def mixed(self, mixing: np.ndarray) -> Points:
        """The points sum_j mixing_ij x_j; float64 `[m, n]`."""
        barycentric = np.array([_complete(row) for row in mixing])
        # Differences of weights sum to 0, for which -1/2 u^T D u is the squared length.
        norms = _squared_lengths(barycentric - np.eye(len(self) + 1)[-1], self._with_origin)
        distances = np.array(
            [_squared_lengths(barycentric - row, self._with_origin) for row in barycentric]
        )
        return Points(norms, distances)

    def centred_gram(self, weights: np.ndarray) -> np.ndarray:
        """Inner products of x_i - z, z = sum_i weights_i x_i with weights that sum to 1."""
        to_centre = self.distances_from(weights) ** 2
        return (to_centre[:, None] + to_centre - self.squared_distances) / 2


def _complete(weights: np.ndarray) -> np.ndarray:
    """Append the weight of the origin that makes the sum 1."""
    return np.append(weights, 1.0 - weights.sum())


def _squared_lengths(differences: np.ndarray, squared_distances: np.ndarray) -> np.ndarray:
    lengths = -((differences @ squared_distances) * differences).sum(axis=1) / 2
    return np.maximum(lengths, 0.0)


def measure(rows: Rows) -> Points | None:
    """Distances of n rows from one pass over them; None if a row is not `usable`."""
    gram = _gram(rows)
    if not np.isfinite(gram).all():
        return None
    norms = np.diag(gram).copy()
    distances = np.maximum(norms[:, None] + norms - 2 * gram, 0.0)
    np.fill_diagonal(distances, 0.0)
    _refine(rows, np.arange(len(rows)), norms, distances)
    return Points(norms, distances)


def _refine(
    rows: Rows, members: np.ndarray, squared_norms: np.ndarray, distances: np.ndarray
) -> None:
    """Measure groups of near-duplicates among `members` again, as seen from one of the group.

    Args:
        rows: all rows.
        members: those looked at.
        squared_norms: float64 `[len(members)]`, from where the members were seen so far.
        distances: float64 `[n, n]`, squared; changed.
    """
    near = distances[np.ix_(members, members)] < _NEAR * (squared_norms[:, None] + squared_norms)
    np.fill_diagonal(near, False)
    if not near.any():
        return
    from scipy.sparse.csgraph import connected_components

    groups, labels = connected_components(near, directed=False)
    for group in range(groups):
        chosen = members[labels == group]
        if len(chosen) == 1:
            continue
        gram = _gram(rows.take(chosen), relative=True)
        norms = np.diag(gram).copy()
        block = np.maximum(norms[:, None] + norms - 2 * gram, 0.0)
        np.fill_diagonal(block, 0.0)
        distances[np.ix_(chosen, chosen)] = block
        _refine(rows, chosen[1:], norms[1:], distances)


def _gram(rows: Rows, *, relative: bool = False) -> np.ndarray:
    """Inner products, float64 `[n, n]`; `relative`: of the rows less the first of them."""
    kernels = load_kernels()
    compiled = kernels is not None and not relative
    if kernels and compiled and kernels.supports(len(rows), rows.dimension):
        rest = rows.columns(rows.dimension - rows.dimension % kernels.LANES, rows.dimension)
        gram = kernels.gram_matrix(rows.addresses(), rows.dimension)
        return gram + _products(rest)
    gram = np.zeros((len(rows), len(rows)))
    for _, _, columns in rows.chunks():
        gram += _products(columns - columns[0] if relative else columns)
    return gram


def _products(columns: np.ndarray) -> np.ndarray:
    # An overflow is how an unusable row shows.
    with np.errstate(over="ignore", invalid="ignore"):
        return (columns @ columns.T).astype(np.float64)
