"""The accuracy figures of the paper (Figures 2 to 11) as runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from mlsys_ray.byzshield.config import TrainConfig

Scale = Literal["small", "paper"]


@dataclass(frozen=True)
class Series:
    """One curve of a figure.

    Attributes:
        figure: its number.
        attack: alie, constant or reversed_gradient.
        num_workers: K, 25 or 15.
        method: of the rows of `METHODS`.
        byzantine: q.
        accuracy: test accuracy [percent], read from the vector drawing: the mean of the last 5
            evaluations in Figures 2 to 4, the last one in the others.
        schedule: the step schedule (x, y, z) it was tuned to, Table 7.
    """

    figure: int
    attack: str
    num_workers: int
    method: str
    byzantine: int
    accuracy: float
    schedule: tuple[float, float, int]


METHODS: dict[str, tuple[str, str]] = {
    "ByzShield": ("byzshield", "median"),
    "Median": ("baseline", "median"),
    "Bulyan": ("baseline", "bulyan"),
    "Multi-Krum": ("baseline", "multi_krum"),
    "signSGD": ("baseline", "signsgd"),
    "DETOX-MoM": ("frc", "median_of_means"),
    "DETOX-Multi-Krum": ("frc", "multi_krum"),
    "DETOX-signSGD": ("frc", "signsgd"),
}

FIGURES = (
    Series(2, "alie", 25, "Median", 3, 38.0, (0.00625, 0.96, 15)),
    Series(2, "alie", 25, "Median", 5, 29.9, (0.00625, 0.96, 15)),
    Series(2, "alie", 25, "ByzShield", 3, 65.7, (0.025, 0.96, 15)),
    Series(2, "alie", 25, "ByzShield", 5, 46.4, (0.01, 0.95, 20)),
    Series(2, "alie", 25, "DETOX-MoM", 3, 47.6, (0.01, 0.95, 20)),
    Series(2, "alie", 25, "DETOX-MoM", 5, 23.6, (0.01, 0.95, 20)),
    Series(3, "alie", 25, "Bulyan", 3, 33.9, (0.003125, 0.96, 15)),
    Series(3, "alie", 25, "Bulyan", 5, 28.1, (0.003125, 0.96, 15)),
    Series(4, "alie", 25, "Multi-Krum", 3, 40.3, (0.00625, 0.96, 15)),
    Series(4, "alie", 25, "Multi-Krum", 5, 29.8, (0.01, 0.95, 20)),
    Series(4, "alie", 25, "DETOX-Multi-Krum", 3, 36.9, (0.01, 0.95, 20)),
    Series(4, "alie", 25, "DETOX-Multi-Krum", 5, 38.4, (0.01, 0.95, 20)),
    Series(5, "constant", 25, "signSGD", 3, 32.3, (0.0001, 0.99, 20)),
    Series(5, "constant", 25, "signSGD", 5, 26.3, (0.0001, 0.99, 20)),
    Series(5, "constant", 25, "ByzShield", 3, 64.8, (0.025, 0.96, 15)),
    Series(5, "constant", 25, "ByzShield", 5, 40.8, (0.025, 0.96, 15)),
    Series(5, "constant", 25, "DETOX-signSGD", 3, 34.0, (0.001, 0.5, 50)),
    Series(5, "constant", 25, "DETOX-signSGD", 5, 38.1, (0.001, 0.5, 50)),
    Series(6, "reversed_gradient", 25, "Median", 3, 84.1, (0.05, 0.96, 15)),
    Series(6, "reversed_gradient", 25, "Median", 9, 65.9, (0.05, 0.96, 15)),
    Series(6, "reversed_gradient", 25, "ByzShield", 3, 87.3, (0.1, 0.95, 50)),
    Series(6, "reversed_gradient", 25, "ByzShield", 9, 65.6, (0.05, 0.96, 15)),
    Series(6, "reversed_gradient", 25, "DETOX-MoM", 3, 77.0, (0.025, 0.96, 15)),
    Series(6, "reversed_gradient", 25, "DETOX-MoM", 9, 10.1, (0.025, 0.96, 15)),
    Series(7, "reversed_gradient", 25, "Bulyan", 3, 84.9, (0.025, 0.96, 15)),
    Series(7, "reversed_gradient", 25, "Bulyan", 5, 85.0, (0.025, 0.96, 15)),
    Series(7, "reversed_gradient", 25, "ByzShield", 5, 86.2, (0.05, 0.96, 15)),
    Series(8, "reversed_gradient", 25, "Multi-Krum", 3, 86.4, (0.05, 0.96, 15)),
    Series(8, "reversed_gradient", 25, "Multi-Krum", 5, 86.1, (0.05, 0.96, 15)),
    Series(8, "reversed_gradient", 25, "Multi-Krum", 9, 85.2, (0.05, 0.96, 15)),
    Series(8, "reversed_gradient", 25, "DETOX-Multi-Krum", 3, 83.0, (0.025, 0.96, 15)),
    Series(8, "reversed_gradient", 25, "DETOX-Multi-Krum", 5, 82.2, (0.025, 0.96, 15)),
    Series(9, "alie", 15, "Median", 2, 42.8, (0.003125, 0.96, 15)),
    Series(9, "alie", 15, "ByzShield", 2, 65.7, (0.01, 0.96, 15)),
    Series(9, "alie", 15, "DETOX-MoM", 2, 44.9, (0.0125, 0.96, 15)),
    Series(10, "alie", 15, "Bulyan", 2, 40.0, (0.0015625, 0.96, 15)),
    Series(11, "alie", 15, "Multi-Krum", 2, 45.4, (0.003125, 0.96, 15)),
    Series(11, "alie", 15, "DETOX-Multi-Krum", 2, 35.9, (0.0125, 0.96, 15)),
)

# Of the authors' code: alie z, constant value, scale of the reversed gradient.
STRENGTHS = {"alie": 1.0, "constant": -100.0, "reversed_gradient": 100.0}


def run_config(series: Series, scale: Scale, seed: int = 0) -> TrainConfig:
    """The run behind a curve.

    At `paper` scale it is ResNet-18 on CIFAR-10, batches of 750, 1,040 iterations, momentum 0.9
    and the schedule of Table 7; the authors average over a file as this package does. At `small`
    scale it is a small network on digits, batches of 5 samples a worker for 100 iterations, one
    step size for all: accuracies then compare within a figure, not with the paper's.
    """
    return TrainConfig(
        **_code(series),
        byzantine=series.byzantine,
        attack=series.attack,
        attack_strength=STRENGTHS[series.attack],
        rule=METHODS[series.method][1],
        allow_beyond_tolerance=True,
        seed=seed,
        **(_small(series) if scale == "small" else _full(series)),
    )


def _code(series: Series) -> dict[str, Any]:
    scheme = METHODS[series.method][0]
    if scheme == "baseline":
        return {"scheme": scheme, "num_workers": series.num_workers}
    replication = 5 if series.num_workers == 25 else 3
    if scheme == "byzshield":
        scheme = "ramanujan2" if series.num_workers == 25 else "mols"
    return {"scheme": scheme, "num_workers": series.num_workers, "replication": replication}


def _small(series: Series) -> dict[str, Any]:
    # signSGD steps are of the size of the learning rate in every coordinate.
    signs = METHODS[series.method][1] == "signsgd"
    return {
        "batch_size": 5 * series.num_workers,
        "learning_rate": 0.0003 if signs else 0.03,
        "iterations": 100,
    }


def _full(series: Series) -> dict[str, Any]:
    rate, decay, interval = series.schedule
    return {
        "data": "cifar10",
        "model": "resnet18",
        "batch_size": 750,
        "iterations": 1040,
        "eval_interval": 52,
        "learning_rate": rate,
        "decay": decay,
        "decay_interval": interval,
        "deadline": 600.0,
    }
