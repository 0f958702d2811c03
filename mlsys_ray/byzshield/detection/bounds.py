"""What q Byzantine workers can do at most where liars are detected."""

from __future__ import annotations

from math import comb


def undetected_c_max(num_byzantine: int, replication: int) -> int:
    """The most files that q colluders distort under Aspis: C(2 q, r) / 2.

    They reach it by lying on just those files whose honest holders are among the same q honest
    workers, so that nobody can tell which of the two sets of q workers lied (attack ATT-2 of
    Konstantinidis et al. 2023). Without detection it would be `worst_case`.

    >>> [undetected_c_max(q, replication=3) for q in range(2, 8)]
    [2, 10, 28, 60, 110, 182]
    """
    return comb(2 * num_byzantine, replication) // 2
