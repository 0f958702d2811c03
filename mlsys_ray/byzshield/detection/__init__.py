"""Who lies, told from who agrees with whom (Konstantinidis and Ramamoorthy 2023)."""

from mlsys_ray.byzshield.detection.agreement import Agreement, agreement
from mlsys_ray.byzshield.detection.bounds import undetected_c_max
from mlsys_ray.byzshield.detection.clique import convict
from mlsys_ray.byzshield.detection.degree import DegreeDetector
from mlsys_ray.byzshield.detection.verdict import NOBODY, Verdict

__all__ = [
    "NOBODY",
    "Agreement",
    "DegreeDetector",
    "Verdict",
    "agreement",
    "convict",
    "undetected_c_max",
]
