"""Closed forms around the worst-case distortion (ByzShield, section 4)."""

from __future__ import annotations

import math

import numpy as np

from mlsys_ray.byzshield.assignment import Assignment


def gamma(assignment: Assignment, num_byzantine: int) -> float | None:
    """The spectral bound gamma on c_max^(q), Claim 1; None without replication.

    gamma = (q l - beta) / ((r - 1) / 2), where beta = (q l / r) / (mu_1 + (1 - mu_1) q / K) is
    the least number of files that q workers hold together.

    >>> from mlsys_ray.byzshield.assignment import mols
    >>> round(gamma(mols(load=5, replication=3), 2), 2)
    2.11
    """
    if assignment.replication == 1:
        return None
    copies = num_byzantine * assignment.load
    mu = assignment.second_eigenvalue
    share = num_byzantine / assignment.num_workers
    beta = copies / assignment.replication / (mu + (1 - mu) * share)
    return (copies - beta) / ((assignment.replication - 1) / 2)


def pair_bound(assignment: Assignment, num_byzantine: int) -> int | None:
    """A bound on c_max^(q) from pairs of Byzantine workers; None where r' is below 2.

    A distorted file has at least C(r', 2) pairs of Byzantine holders. Where workers fall into
    classes that share no file within, as in MOLS and Ramanujan codes, q workers have at most as
    many pairs that meet as the Turan graph of q vertices and so many parts has edges; each pair
    meets in at most as many files as any two workers share. Often tighter than gamma.

    >>> from mlsys_ray.byzshield.assignment import mols
    >>> [pair_bound(mols(load=7, replication=3), q) for q in range(2, 8)]
    [1, 3, 5, 8, 12, 16]
    """
    if assignment.majority < 2:
        return None
    holds = assignment.biadjacency.astype(np.int64)
    common = holds @ holds.T
    np.fill_diagonal(common, 0)
    apart = common == 0
    # "Share no file" is an equivalence if its rows are equal or disjoint.
    classes = np.unique(apart, axis=0)
    parts = len(classes) if (classes.sum(axis=0) == 1).all() else num_byzantine
    meetings = _turan_edges(num_byzantine, parts) * int(common.max())
    return meetings // math.comb(assignment.majority, 2)


def _turan_edges(vertices: int, parts: int) -> int:
    """Edges of the complete multipartite graph with parts as equal as can be."""
    if parts == 0:
        return 0
    size, larger = divmod(vertices, parts)
    inside = larger * math.comb(size + 1, 2) + (parts - larger) * math.comb(size, 2)
    return math.comb(vertices, 2) - inside


def upper_bound(assignment: Assignment, num_byzantine: int) -> int:
    """The least of all bounds here, and of the files that q l copies can distort at all."""
    copies = num_byzantine * assignment.load // assignment.majority
    bounds = [copies, assignment.num_files, pair_bound(assignment, num_byzantine)]
    spectral = gamma(assignment, num_byzantine) if num_byzantine else None
    if spectral is not None:
        bounds.append(math.floor(spectral + 1e-9))
    return min(bound for bound in bounds if bound is not None)


def baseline_epsilon(assignment: Assignment, num_byzantine: int) -> float:
    """Distortion fraction of the plain scheme on as many workers: q / K."""
    return num_byzantine / assignment.num_workers


def frc_epsilon(assignment: Assignment, num_byzantine: int) -> float | None:
    """Distortion fraction of FRC (DETOX) with the same K and r, floor(q / r') r / K.

    None where r does not divide K, so that no such code exists.
    """
    if assignment.num_workers % assignment.replication:
        return None
    groups = num_byzantine // assignment.majority
    return groups * assignment.replication / assignment.num_workers
