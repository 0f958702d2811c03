"""What `ray job submit --working-dir .` sends to the cluster."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from zipfile import ZipFile

from mlsys_ray.cluster.session import configure_environment

LIMIT_BYTES = 100 * 2**20
"""Of a request to Ray's job server; a larger package is refused after it was uploaded."""
NUM_SHOWN = 10


def package_files(folder: Path) -> dict[str, int]:
    """The files that Ray would send, as Ray packs them, with their sizes [bytes]."""
    configure_environment()
    from ray._private import ray_constants
    from ray._private.runtime_env.packaging import create_package

    excludes = ray_constants.get_runtime_env_default_excludes()
    quiet = logging.getLogger(f"{__name__}.ray")
    quiet.setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as temporary:
        package = Path(temporary) / "package.zip"
        create_package(
            str(folder), package, include_gitignore=True, excludes=excludes, logger=quiet
        )
        with ZipFile(package) as content:
            return {item.filename: item.file_size for item in content.infolist()}


def check_package(folder: Path, limit: int = LIMIT_BYTES) -> int:
    """The size of what Ray would send [bytes].

    Raises:
        ValueError: it is more than Ray's job server takes; names the largest paths.
    """
    files = package_files(folder)
    total = sum(files.values())
    if total <= limit:
        return total
    largest = sorted(files.items(), key=lambda item: -item[1])[:NUM_SHOWN]
    raise ValueError(
        f"{folder} is {total / 2**20:.1f} MiB, and Ray's job server takes at most"
        f" {limit / 2**20:.0f} MiB; list in .rayignore what the cluster does not need. Largest:\n"
        + "\n".join(f"{size / 2**20:8.1f} MiB  {name}" for name, size in largest)
    )
