"""Finds data on this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mlsys_ray.archives import ARCHIVES
from mlsys_ray.exit_codes import EnvironmentMissingError

DATA_VARIABLE = "MLSYS_RAY_DATA"


class DataNotFoundError(EnvironmentMissingError):
    """Data is in none of the places that are searched."""


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
        name: what is looked for, a key of `archives.ARCHIVES` if it can be fetched.
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
