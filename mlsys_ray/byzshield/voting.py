"""The vote over the copies of one file, held on digests."""

from __future__ import annotations

import hashlib
import math
import struct
from collections import Counter
from collections.abc import Mapping
from typing import TypeGuard

import numpy as np

DIGEST_BYTES = 32


def digest(iteration: int, file: int, gradient: np.ndarray) -> bytes:
    """SHA-256 over iteration, file and the bytes of the gradient.

    With the first two in it, an old gradient or that of another file does not verify.
    """
    state = hashlib.sha256(struct.pack("<QQ", iteration, file))
    state.update(np.ascontiguousarray(gradient).data.cast("B"))
    return state.digest()


def is_gradient(value: object, shape: tuple[int, ...]) -> TypeGuard[np.ndarray]:
    """Whether something is a float32 array of this shape."""
    return isinstance(value, np.ndarray) and value.dtype == np.float32 and value.shape == shape


def is_finite(value: np.ndarray) -> bool:
    """Whether the sum of squares is finite, one cheap pass.

    It also refuses finite vectors beyond about 1e19, which are no better than infinite ones.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(np.dot(value, value)))


class Ballot:
    """The copies of one file: which worker sent which digest, and how many are unknown.

    A vote is decided when no completion of the unknown copies could change its winner. With no
    copy unknown that is the paper's plurality (Algorithm 1, line 12: "appears the maximum number
    of times"), and a file of which r' holders agree is always decided.

    Args:
        digests: of the copies that came, by worker.
        replication: number of copies that count, whether they came or not.
        enough: so many equal copies decide the vote whatever the others are; None: no number does.

    >>> ballot = Ballot({0: b"good", 5: b"good", 10: b"bad"}, replication=3)
    >>> ballot.winner()
    b'good'
    >>> ballot.lose(5)
    >>> ballot.winner() is None
    True
    """

    def __init__(
        self, digests: Mapping[int, bytes], replication: int, enough: int | None = None
    ) -> None:
        self._digests = dict(digests)
        self._unknown = replication - len(digests)
        self._enough = math.inf if enough is None else enough

    def winner(self) -> bytes | None:
        """The digest that has won, None while undecided."""
        leaders = Counter(self._digests.values()).most_common(2)
        if not leaders:
            return None
        runner_up = leaders[1][1] if len(leaders) > 1 else 0
        value, votes = leaders[0]
        decided = votes > runner_up + self._unknown or votes >= self._enough
        return value if decided else None

    def holders(self, value: bytes) -> list[int]:
        """Sorted workers whose copy has this digest."""
        return sorted(worker for worker, own in self._digests.items() if own == value)

    def dissenters(self, value: bytes) -> list[int]:
        """Sorted workers whose copy has another digest."""
        return sorted(worker for worker, own in self._digests.items() if own != value)

    def lose(self, worker: int) -> None:
        """This worker's copy cannot be had: it is unknown from now on."""
        del self._digests[worker]
        self._unknown += 1

    def strike(self, worker: int) -> None:
        """This worker's copy is proved to be a lie: it no longer counts."""
        del self._digests[worker]
