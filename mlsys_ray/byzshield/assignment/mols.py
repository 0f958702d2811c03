"""Mutually orthogonal Latin squares."""

from __future__ import annotations

from mlsys_ray.byzshield.assignment.affine import affine
from mlsys_ray.byzshield.assignment.base import Assignment, require_odd_replication
from mlsys_ray.byzshield.assignment.finite_field import prime_power


def mols(load: int, replication: int) -> Assignment:
    """K = r*l workers, f = l**2 files (ByzShield, section 4.1, for any prime-power load).

    Square alpha = 1..r has the symbol `alpha*i + j` over F_l in cell (i, j), which is file
    `i*l + j`; worker `k*l + s` holds the cells of square k+1 with symbol s.

    Raises:
        ValueError: `load` is not a prime power or `replication` not odd in 3 .. load-1.
    """
    require_odd_replication("mols", replication)
    if prime_power(load) is None:
        raise ValueError(
            f"mols: load is {load}, must be a prime power, because the squares are built over the"
            " finite field with that many elements"
        )
    if replication > load - 1:
        raise ValueError(
            f"mols: replication is {replication}, must be at most load - 1 = {load - 1}, because"
            " the construction gives that many mutually orthogonal squares"
        )
    return Assignment("mols", affine(load, replication).biadjacency)
