"""The command `mlsys-ray doctor`."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlsys_ray.cli.console import print_json, print_table, say
from mlsys_ray.exit_codes import EnvironmentMissingError, ExitCode

GIB = 2**30
KNOWN_DATA = ("data/cifar10", "data/cifar-10-batches-py", "cifar10", "cifar-10-batches-py")


@dataclass(frozen=True, kw_only=True, slots=True)
class Doctor:
    """Say what this machine has: versions, processor, GPUs, Ray, memory, disk, data."""

    address: str | None = None
    """Ray cluster to look for, host:port; by default RAY_ADDRESS."""
    data_dir: Path | None = None
    """Folder to look for data sets in, before MLSYS_RAY_DATA and the user cache."""
    json: bool = False
    """Print it as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Print it; environment_missing if the cluster is there and cannot be reached."""
        import torch  # noqa: F401  so that the environment knows of GPUs

        from mlsys_ray.cluster.environment import describe_environment

        environment = describe_environment()
        ray = self._ray()
        report = {
            **{
                name: environment[name]
                for name in ("python", "platform", "cpu", "vector_bits", "usable_cores", "gpus")
            },
            "memory_gib": environment["memory_bytes"] / GIB,
            "shared_memory_free_gib": _free_gib(Path("/dev/shm")),
            "disk_free_gib": _free_gib(Path.cwd()),
            "threads": environment["threads"],
            "ray": ray,
            "data": self._data(),
            "packages": environment["packages"],
        }
        rows = [{"what": name, "here": text} for name, text in _lines(report)]
        print_table(rows, title="mlsys-ray doctor")
        if self.json:
            print_json(report)
        if ray["problem"]:
            say(f"doctor: {ray['problem']}")
            return ExitCode.ENVIRONMENT_MISSING
        return ExitCode.DONE

    def _ray(self) -> dict[str, Any]:
        from mlsys_ray.cluster.session import check_address, configure_environment, token_source

        configure_environment()
        address = self.address or os.environ.get("RAY_ADDRESS")
        problem = None
        if address:
            try:
                check_address(address)
            except EnvironmentMissingError as error:
                problem = str(error)
        return {
            "address": address,
            "authentication": os.environ["RAY_AUTH_MODE"],
            "token": token_source(),
            "problem": problem,
        }

    def _data(self) -> dict[str, list[str]]:
        from mlsys_ray.data import data_places

        return {
            f"{label} {place or '(not set)'}": [
                name for name in KNOWN_DATA if place and (place / name).exists()
            ]
            for label, place in data_places(self.data_dir)
        }


def _free_gib(folder: Path) -> float | None:
    return shutil.disk_usage(folder).free / GIB if folder.exists() else None


def _lines(report: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    lines = []
    for name, value in report.items():
        if isinstance(value, dict):
            lines += _lines(value, f"{name}: ")
            continue
        if isinstance(value, float):
            value = f"{value:.1f}"
        if isinstance(value, list):
            value = ", ".join(value)
        lines.append((prefix + name.replace("_", " "), "–" if value in (None, "") else str(value)))
    return lines
