"""Detection of liars from who disagreed with whom."""

from __future__ import annotations

from mlsys_ray.byzshield.detection.base import NOBODY, Detector, Verdict
from mlsys_ray.byzshield.detection.bounds import undetected_c_max
from mlsys_ray.byzshield.detection.cliques import CliqueDetector
from mlsys_ray.byzshield.detection.degrees import DegreeDetector
from mlsys_ray.byzshield.detection.disagreements import disagreements

# The schemes that leave out whom they detect. Under the others detection is evidence only.
DETECTING: dict[str, type[CliqueDetector] | type[DegreeDetector]] = {
    "aspis": CliqueDetector,
    "aspis_plus": DegreeDetector,
}


def make_detector(scheme: str, num_byzantine: int) -> Detector:
    """The detector of a scheme: that of `DETECTING`, else cliques, which suit every code."""
    return DETECTING.get(scheme, CliqueDetector)(num_byzantine)


__all__ = [
    "DETECTING",
    "NOBODY",
    "CliqueDetector",
    "DegreeDetector",
    "Detector",
    "Verdict",
    "disagreements",
    "make_detector",
    "undetected_c_max",
]
