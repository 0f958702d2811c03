"""`--print-submit`: how a command is run on a cluster instead of here."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlsys_ray.cli.console import UsageError, say, usage_errors
from mlsys_ray.exit_codes import ExitCode

FLAG = "--print-submit"
SUBMIT = ("ray", "job", "submit", "--working-dir", ".", "--", "python", "-m", "mlsys_ray")


def print_submit(command: Any, arguments: Sequence[str]) -> ExitCode:
    """Print the line that submits a command to a cluster, on stdout; nothing is submitted.

    Args:
        command: what the arguments were parsed to.
        arguments: of the command line.

    Raises:
        UsageError: the command does not run on Ray, or the working folder is too large to be sent.
    """
    from mlsys_ray.cluster.package import check_package

    place = getattr(command, "place", command)
    if not hasattr(place, "address"):
        raise UsageError(f"{FLAG}: this command runs in one process here, not on Ray")
    here = Path.cwd()
    with usage_errors():
        size = check_package(here)
    say(f"sends {here} ({size / 2**20:.1f} MiB)")
    if hasattr(place, "run_dir") and not _is_kept(place):
        storage = "--storage, or " if hasattr(place, "storage") else ""
        say(
            "the job works in a copy of this folder that Ray deletes:"
            f" give {storage}--run-dir with an absolute path that all nodes share"
        )
    print(shlex.join([*SUBMIT, *(text for text in arguments if text != FLAG)]))
    return ExitCode.DONE


def _is_kept(place: Any) -> bool:
    """Whether the run directory outlives the job."""
    if getattr(place, "storage", None) is not None:
        return True
    return place.run_dir is not None and place.run_dir.is_absolute()
