"""Who lies, told from who agrees with whom (Konstantinidis and Ramamoorthy 2023)."""

from mlsys_ray.byzshield.detection.agreement import Agreement, agreement
from mlsys_ray.byzshield.detection.clique import honest_clique
from mlsys_ray.byzshield.detection.degree import DegreeDetector

__all__ = ["Agreement", "DegreeDetector", "agreement", "honest_clique"]
