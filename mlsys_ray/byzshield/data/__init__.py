"""Image data sets for training."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from mlsys_ray.byzshield.data.base import ImageDataset, Normaliser
from mlsys_ray.byzshield.data.cifar10 import load_cifar10
from mlsys_ray.byzshield.data.digits import load_digits

DATASETS = ("digits", "cifar10")


@lru_cache(maxsize=1)
def load_dataset(name: str, data_dir: Path | None = None) -> ImageDataset:
    """Load a data set by name.

    Raises:
        ValueError: no data set has that name.
        DataNotFoundError: it is not on this machine.
    """
    if name == "digits":
        return load_digits()
    if name == "cifar10":
        return load_cifar10(data_dir)
    raise ValueError(f"data is {name!r}, must be one of {', '.join(DATASETS)}")


__all__ = ["DATASETS", "ImageDataset", "Normaliser", "load_dataset"]
