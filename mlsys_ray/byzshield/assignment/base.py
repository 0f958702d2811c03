"""The worker-file assignment graph that every code produces."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Assignment:
    """Which worker computes which files of the batch (ByzShield, section 4).

    Attributes:
        scheme: name of the code, a key of `SCHEMES`.
        biadjacency: bool `[K, f]`, the matrix H; entry `(u, v)` says that worker u holds file v.
            Must be biregular: every worker holds l files, every file has r holders.

    Raises:
        ValueError: the matrix is not biregular.
    """

    scheme: str
    biadjacency: np.ndarray

    def __post_init__(self) -> None:
        matrix = np.array(self.biadjacency, dtype=bool)
        loads, replications = matrix.sum(axis=1), matrix.sum(axis=0)
        if np.ptp(loads) or np.ptp(replications) or not matrix.any():
            raise ValueError(
                f"{self.scheme}: the assignment is not biregular: workers hold {sorted(set(loads))}"
                f" files, files have {sorted(set(replications))} holders; each must be one value"
            )
        matrix.setflags(write=False)
        object.__setattr__(self, "biadjacency", matrix)

    def permuted(self, order: np.ndarray) -> Assignment:
        """The same graph with worker u in the place of worker `order[u]`, int64 `[K]`."""
        return Assignment(self.scheme, self.biadjacency[order])

    @property
    def num_workers(self) -> int:
        """Number of workers K."""
        return self.biadjacency.shape[0]

    @property
    def num_files(self) -> int:
        """Number of files f."""
        return self.biadjacency.shape[1]

    @cached_property
    def load(self) -> int:
        """l, files per worker."""
        return int(self.biadjacency[0].sum())

    @cached_property
    def replication(self) -> int:
        """r, holders per file."""
        return int(self.biadjacency[:, 0].sum())

    @property
    def majority(self) -> int:
        """Votes that carry a file: r' = (r + 1) / 2, the Byzantine holders that distort a file."""
        return (self.replication + 1) // 2

    def files_of(self, worker: int) -> tuple[int, ...]:
        """N(U), the sorted files of one worker."""
        return tuple(np.flatnonzero(self.biadjacency[worker]).tolist())

    def holders_of(self, file: int) -> tuple[int, ...]:
        """The sorted workers of one file."""
        return tuple(np.flatnonzero(self.biadjacency[:, file]).tolist())

    def distorted_by(self, workers: Iterable[int]) -> np.ndarray:
        """Mask bool `[f]` of the files on which `workers` have the majority r'."""
        return self.biadjacency[list(workers)].sum(axis=0) >= self.majority

    def spectrum(self) -> list[tuple[float, int]]:
        """Eigenvalues of A A^T with multiplicities, A = H / sqrt(l r), descending (Lemma 2)."""
        values, counts = np.unique(self._eigenvalues.round(9) + 0.0, return_counts=True)
        return list(zip(values[::-1].tolist(), counts[::-1].tolist(), strict=True))

    @property
    def second_eigenvalue(self) -> float:
        """mu_1, the second largest eigenvalue of A A^T counted with multiplicity."""
        return float(self._eigenvalues[-2]) if self.num_workers > 1 else 0.0

    @cached_property
    def _eigenvalues(self) -> np.ndarray:
        matrix = self.biadjacency.astype(np.float64)
        return np.linalg.eigvalsh(matrix @ matrix.T / (self.load * self.replication))


def require_odd_replication(scheme: str, replication: int) -> None:
    """Refuse a replication under which a vote can tie.

    Raises:
        ValueError: `replication` is even or below 3.
    """
    if replication < 3 or replication % 2 == 0:
        raise ValueError(
            f"{scheme}: replication is {replication}, must be odd and at least 3,"
            " or the honest copies of a file need not be a majority"
        )
