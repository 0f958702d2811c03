"""The command `mlsys-ray demo`."""

from __future__ import annotations

from dataclasses import dataclass

from mlsys_ray.exit_codes import ExitCode


@dataclass(frozen=True, kw_only=True, slots=True)
class Demo:
    """Demo."""

    json: bool = False

    def run(self) -> ExitCode:
        return ExitCode.DONE
