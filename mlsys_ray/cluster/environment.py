"""What a run ran on: versions, processor, memory, source state and command."""

from __future__ import annotations

import os
import platform
import re
import shlex
import socket
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

_ROOT = Path(__file__).resolve().parents[2]
_VECTOR_BITS = {"avx512f": 512, "avx2": 256, "avx": 256, "asimd": 128, "neon": 128, "sse2": 128}
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def describe_environment() -> dict[str, Any]:
    """The content of `environment.json`; memory in bytes, vector width in bits.

    Never imports a heavy package: torch's thread count and GPU names are there when the caller
    has imported torch.
    """
    return {
        "command": command_line(),
        "argv": sys.argv,
        "folder": os.getcwd(),
        "commit": git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "cpu": cpu_model(),
        "vector_bits": vector_bits(),
        "physical_cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count(),
        "usable_cores": usable_cores(),
        "threads": _threads(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": gpu_names(),
        "packages": package_versions(),
    }


def command_line() -> str:
    """The command that started this process, as a shell takes it."""
    if Path(sys.argv[0]).name == "mlsys-ray":
        return shlex.join(["mlsys-ray", *sys.argv[1:]])
    interpreter = Path(sys.orig_argv[0]).name if sys.orig_argv else "python"
    return shlex.join([interpreter, *sys.orig_argv[1:]])


def git_commit() -> str | None:
    """Commit of the checkout the package is in, with "-dirty" if tracked files differ from it."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(_ROOT), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        # An installed package may lie inside a checkout of something else.
        if Path(git("rev-parse", "--show-toplevel")) != _ROOT:
            return None
        dirty = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("-dirty" if dirty else "")
    except (OSError, subprocess.SubprocessError):
        return None


def cpu_model() -> str:
    """Name of the processor, or of its architecture where no name is given."""
    names = _cpuinfo("model name")
    return names or platform.processor() or platform.machine()


def vector_bits() -> int | None:
    """Width of the widest vector registers in bits, None if unknown."""
    flags = set((_cpuinfo("flags") or _cpuinfo("Features")).split())
    return max((bits for flag, bits in _VECTOR_BITS.items() if flag in flags), default=None)


def _cpuinfo(key: str) -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
    found = re.search(rf"^{key}\s*:\s*(.*)$", text, re.MULTILINE)
    return found.group(1).strip() if found else ""


def usable_cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _threads() -> dict[str, str | int]:
    threads: dict[str, str | int] = {
        name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ
    }
    if torch := sys.modules.get("torch"):
        threads["torch"] = torch.get_num_threads()
    return threads


def gpu_names() -> list[str]:
    """Names of the GPUs torch sees; empty as long as torch is not imported."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def package_versions() -> dict[str, str]:
    """Installed versions of the packages the project depends on."""
    versions = {}
    for name in _dependencies():
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _dependencies() -> list[str]:
    try:
        requirements = metadata.requires("mlsys-ray") or []
    except metadata.PackageNotFoundError:
        # Ray ships a working folder to the cluster without installing it.
        project = _ROOT / "pyproject.toml"
        if not project.exists():
            return []
        requirements = tomllib.loads(project.read_text())["project"]["dependencies"]
    needed = [line for line in requirements if "extra ==" not in line]
    return sorted(match.group() for line in needed if (match := re.match(r"[\w.-]+", line)))
