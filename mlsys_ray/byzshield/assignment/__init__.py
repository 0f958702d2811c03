"""Assignment codes: which worker computes which files of the batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from mlsys_ray.byzshield.assignment.affine import affine
from mlsys_ray.byzshield.assignment.aspis import aspis
from mlsys_ray.byzshield.assignment.aspis_plus import aspis_plus
from mlsys_ray.byzshield.assignment.base import Assignment
from mlsys_ray.byzshield.assignment.baseline import baseline
from mlsys_ray.byzshield.assignment.frc import frc
from mlsys_ray.byzshield.assignment.mols import mols
from mlsys_ray.byzshield.assignment.ramanujan import ramanujan1, ramanujan2

SCHEMES: dict[str, Callable[..., Assignment]] = {
    "affine": affine,
    "aspis": aspis,
    "aspis_plus": aspis_plus,
    "baseline": baseline,
    "frc": frc,
    "mols": mols,
    "ramanujan1": ramanujan1,
    "ramanujan2": ramanujan2,
}

# The clusters of the paper's experiments, section 6.
PAPER_PARAMETERS: dict[str, dict[str, int]] = {
    "affine": {"load": 5, "replication": 3},
    "aspis": {"num_workers": 15, "replication": 3},
    "aspis_plus": {"num_workers": 15},
    "baseline": {"num_workers": 15},
    "frc": {"num_workers": 15, "replication": 3},
    "mols": {"load": 5, "replication": 3},
    "ramanujan1": {"load": 5, "replication": 3},
    "ramanujan2": {"load": 5, "replication": 5},
}


def make_assignment(
    scheme: str,
    *,
    num_workers: int | None = None,
    load: int | None = None,
    replication: int | None = None,
) -> Assignment:
    """Build a code from its name and those parameters it needs (None: not given).

    With no parameter at all it is the code of the paper's cluster of 15 workers (25 for
    ramanujan2). A load that is not given is K / r, where these two are.

    Raises:
        ValueError: an unknown scheme; a parameter that is missing, impossible, or contradicts
            what the others imply.

    >>> make_assignment("mols", load=5, replication=3).files_of(0)
    (0, 9, 13, 17, 21)
    """
    if scheme not in SCHEMES:
        raise ValueError(f"scheme is {scheme!r}, must be one of {', '.join(SCHEMES)}")
    given = {"num_workers": num_workers, "load": load, "replication": replication}
    if all(value is None for value in given.values()):
        return SCHEMES[scheme](**PAPER_PARAMETERS[scheme])
    needed = list(inspect.signature(SCHEMES[scheme]).parameters)
    known = dict(given)
    if load is None and num_workers and replication and num_workers % replication == 0:
        known["load"] = num_workers // replication
    missing = [name for name in needed if known[name] is None]
    if missing:
        raise ValueError(f"{scheme} needs {' and '.join(needed)}; missing: {', '.join(missing)}")
    assignment = SCHEMES[scheme](**{name: known[name] for name in needed})
    for name, value in given.items():
        actual = getattr(assignment, name)
        if value is not None and value != actual:
            wanted = ", ".join(f"{name}={known[name]}" for name in needed)
            raise ValueError(f"{name} is {value}, but {scheme} with {wanted} has {name} {actual}")
    return assignment


__all__ = [
    "PAPER_PARAMETERS",
    "SCHEMES",
    "Assignment",
    "affine",
    "aspis",
    "aspis_plus",
    "baseline",
    "frc",
    "make_assignment",
    "mols",
    "ramanujan1",
    "ramanujan2",
]
