"""Ramanujan bigraphs from array codes, both cases (ByzShield, section 4.2)."""

from __future__ import annotations

import numpy as np

from mlsys_ray.byzshield.assignment.base import Assignment, require_odd_replication
from mlsys_ray.byzshield.assignment.finite_field import is_prime


def ramanujan1(load: int, replication: int) -> Assignment:
    """Case 1: s = load prime, m = replication < s; K = m*s workers, f = s**2 files.

    Raises:
        ValueError: `load` is not prime or `replication` not odd in 3 .. load-1.
    """
    require_odd_replication("ramanujan1", replication)
    if not is_prime(load):
        raise ValueError(f"ramanujan1: load is {load}, must be prime (it is s of the array code)")
    if replication >= load:
        raise ValueError(
            f"ramanujan1: replication is {replication}, must be below the load {load};"
            " for a replication up to the load use ramanujan2"
        )
    return Assignment("ramanujan1", _array_code(load, replication).T)


def ramanujan2(load: int, replication: int) -> Assignment:
    """Case 2: s = replication prime, m = load a multiple of s; K = s**2 workers, f = m*s files.

    Raises:
        ValueError: `replication` is not an odd prime or does not divide `load`.
    """
    require_odd_replication("ramanujan2", replication)
    if not is_prime(replication):
        raise ValueError(
            f"ramanujan2: replication is {replication}, must be prime (it is s of the array code)"
        )
    if load < 1 or load % replication:
        raise ValueError(
            f"ramanujan2: load is {load}, must be a positive multiple of the replication"
            f" {replication}, or the graph is not Ramanujan"
        )
    return Assignment("ramanujan2", _array_code(replication, load))


def _array_code(s: int, m: int) -> np.ndarray:
    """B: an s x m block matrix, block (a, b) = P**(a*b), P the cyclic shift of size s."""
    rows, columns = np.arange(s)[:, None], np.arange(s)
    blocks = [[columns == (rows - a * b) % s for b in range(m)] for a in range(s)]
    return np.block(blocks)
