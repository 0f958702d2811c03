"""The command `mlsys-ray fetch`."""

from __future__ import annotations

from dataclasses import dataclass

from tyro.conf import Positional

from mlsys_ray.cli.console import print_json, say, usage_errors
from mlsys_ray.exit_codes import EnvironmentMissingError, ExitCode


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetch:
    """Download a public data set into the user cache, checked by its checksum."""

    name: Positional[str]
    """Data set: cifar10."""
    json: bool = False
    """Print where it lies as JSON on stdout."""

    def run(self) -> ExitCode:
        """Download it, unless it is there already."""
        from mlsys_ray.data import fetch

        try:
            with usage_errors():
                path = fetch(self.name)
        except OSError as error:
            raise EnvironmentMissingError(
                f"{self.name} cannot be downloaded ({error}); are you online? Data that is on this"
                " machine is found through --data-dir or MLSYS_RAY_DATA"
            ) from error
        say(f"{self.name}: {path}")
        if self.json:
            print_json({"name": self.name, "path": path})
        return ExitCode.DONE
