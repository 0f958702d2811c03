"""Parallel classes of the affine plane: MOLS beyond their limit on the replication."""

from __future__ import annotations

import numpy as np

from mlsys_ray.byzshield.assignment.base import Assignment, require_odd_replication
from mlsys_ray.byzshield.assignment.finite_field import finite_field, prime_power


def affine(load: int, replication: int) -> Assignment:
    """K = r*l workers, f = l**2 files, r up to l + 1 (own extension of section 4.1).

    Files are the points (i, j) of the affine plane over F_l, workers the lines of r of its l + 1
    parallel classes: first those of `mols`, `alpha*i + j` for alpha = 1 .. l-1, then `j` and `i`.
    Two lines of different classes meet in one point, so that all that is proved of MOLS holds.

    Raises:
        ValueError: `load` is not a prime power or `replication` not odd in 3 .. load+1.
    """
    require_odd_replication("affine", replication)
    if prime_power(load) is None:
        raise ValueError(
            f"affine: load is {load}, must be a prime power, because the plane is built over the"
            " finite field with that many elements"
        )
    if replication > load + 1:
        raise ValueError(
            f"affine: replication is {replication}, must be at most load + 1 = {load + 1}, the"
            " number of parallel classes"
        )
    addition, multiplication = finite_field(load)
    elements = np.arange(load)
    slopes = [*addition[multiplication[1:, :, None], elements]]
    j, i = np.meshgrid(elements, elements)
    classes = np.array([*slopes, j, i][:replication])
    holds = classes.reshape(replication, 1, load**2) == elements[:, None]
    return Assignment("affine", holds.reshape(replication * load, load**2))
