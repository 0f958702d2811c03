"""Closed forms around the worst-case distortion (ByzShield, section 4)."""

from __future__ import annotations

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
