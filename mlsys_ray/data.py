"""Finds data on this machine, and fetches public data for users who are online."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlsys_ray.exit_codes import EnvironmentMissingError

DATA_VARIABLE = "MLSYS_RAY_DATA"


class DataNotFoundError(EnvironmentMissingError):
    """Data is in none of the places that are searched."""


@dataclass(frozen=True)
class Archive:
    """A public archive: where it is and what it must be."""

    url: str
    checksum: str
    folder: str


ARCHIVES = {
    "cifar10": Archive(
        url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        checksum="md5:c58f30108f718f92721af3b95e74349a",
        folder="cifar-10-batches-py",
    )
}


def cache_dir() -> Path:
    """The user's cache folder of this package."""
    import pooch

    return Path(pooch.os_cache("mlsys_ray"))


def data_places(data_dir: Path | None = None) -> list[tuple[str, Path | None]]:
    """The places searched, in order, each with its name; None where nothing is set."""
    variable = os.environ.get(DATA_VARIABLE)
    return [
        ("--data-dir", data_dir),
        (DATA_VARIABLE, Path(variable) if variable else None),
        ("user cache", cache_dir()),
    ]


def find_data(name: str, candidates: Sequence[str], data_dir: Path | None = None) -> Path:
    """Find the first candidate in the first place that has one.

    A place may be the folder above the data or a `data` folder's parent.

    Args:
        name: what is looked for, a key of `ARCHIVES` if it can be fetched.
        candidates: relative paths, the best layout first.
        data_dir: the user's own place.

    Raises:
        DataNotFoundError: naming every place and how to provide the data.
    """
    places = data_places(data_dir)
    for place in [place for _, place in places if place]:
        for candidate in candidates:
            for path in (place / candidate, place / "data" / candidate):
                if path.exists():
                    return path
    searched = "\n".join(f"  {label}: {place or 'not set'}" for label, place in places)
    fetch = f"; `mlsys-ray fetch {name}` downloads it to the user cache" * (name in ARCHIVES)
    raise DataNotFoundError(
        f"{name} not found: none of {', '.join(candidates)} in\n{searched}\n"
        f"Give the folder that holds it by --data-dir or {DATA_VARIABLE}{fetch}."
    )


def fetch(name: str, progress: bool = True) -> Path:
    """Download and unpack a public archive into the user cache, checked by its checksum.

    Returns:
        The unpacked folder.

    Raises:
        ValueError: no archive has that name, or the checksum is another.
    """
    import pooch

    if name not in ARCHIVES:
        raise ValueError(f"name is {name!r}, must be one of {', '.join(ARCHIVES)}")
    archive = ARCHIVES[name]
    pooch.retrieve(
        archive.url,
        known_hash=archive.checksum,
        fname=archive.url.rpartition("/")[2],
        path=cache_dir(),
        processor=pooch.Untar(extract_dir="."),
        progressbar=progress,
    )
    return cache_dir() / archive.folder
