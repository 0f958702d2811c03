"""The inputs of a rule, read in slices so that no copy of them is ever whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

CHUNK = 1 << 15
"""Columns at a time [columns]: 25 rows of them fit a core's second-level cache twice."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Chosen rows of one array.

    Attributes:
        array: float32 `[N, d]`, rows contiguous.
        index: intp `[n]`, the rows meant.
        screened: unusable rows have been taken out (see `usable`).
    """

    array: np.ndarray
    index: np.ndarray
    screened: bool = False

    @classmethod
    def of(cls, gradients: np.ndarray, *, screened: bool = False) -> Rows:
        """All rows of an array.

        Raises:
            ValueError: it is not float32 `[n, d]` with n >= 1.
        """
        if gradients.dtype != np.float32 or gradients.ndim != 2 or not len(gradients):
            raise ValueError(
                f"gradients is {gradients.dtype} {list(gradients.shape)},"
                " must be float32 [n, d] with n at least 1"
            )
        if gradients.strides[1] != gradients.itemsize:
            gradients = np.ascontiguousarray(gradients)
        return cls(gradients, np.arange(len(gradients)), screened)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def dimension(self) -> int:
        """Columns d."""
        return self.array.shape[1]

    def take(self, positions: np.ndarray, *, screened: bool = False) -> Rows:
        """Some of these rows: positions, or a mask, among the `n`."""
        return Rows(self.array, self.index[positions], screened or self.screened)

    def columns(self, start: int, stop: int) -> np.ndarray:
        """Float32 `[n, stop - start]`; a view where all rows are meant."""
        part = self.array[:, start:stop]
        return part if len(self.index) == len(self.array) else part[self.index]

    def chunks(self) -> Iterator[tuple[int, int, np.ndarray]]:
        """Start, stop and columns of slices that cover all columns."""
        for start in range(0, self.dimension, CHUNK):
            stop = min(start + CHUNK, self.dimension)
            yield start, stop, self.columns(start, stop)

    def addresses(self) -> list[int]:
        """Where each row starts in memory."""
        base, stride = self.array.__array_interface__["data"][0], self.array.strides[0]
        return [base + int(i) * stride for i in self.index]

    def weighted_sum(self, weights: np.ndarray) -> np.ndarray:
        """Sum of rows times float64 `[n]`, float32 `[d]`."""
        factors = weights.astype(np.float32)
        read = np.flatnonzero(factors)
        if len(read) == 1:
            return factors[read[0]] * self.array[self.index[read[0]]]
        if len(self) == len(self.array):
            return factors @ self.array
        out = np.empty(self.dimension, dtype=np.float32)
        for start, stop, columns in self.take(read).chunks():
            np.matmul(factors[read], columns, out=out[start:stop])
        return out


def usable(rows: Rows) -> np.ndarray:
    """Mask bool `[n]` of the rows whose squared norm is finite in float32.

    That leaves out rows with a NaN or an infinity, and finite ones longer than 1.8e19, whose
    distances would overflow. No honest gradient is among them, so a rule may count every row left
    out as a Byzantine input found.
    """
    # An overflow is what is looked for.
    with np.errstate(over="ignore", invalid="ignore"):
        norms = [np.dot(rows.array[i], rows.array[i]) for i in rows.index]
    return np.isfinite(norms)
