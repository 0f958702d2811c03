"""The command `mlsys-ray fetch`."""

from __future__ import annotations

from dataclasses import dataclass

from tyro.conf import Positional

from mlsys_ray.cli.console import print_json, say, usage_errors
from mlsys_ray.exit_codes import EnvironmentMissingError, ExitCode


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetch:
    """Download a public data set into the user cache, checked by its checksum.

    Where the publisher's checksum is not known, that of the first download is recorded, and later
    downloads are checked by it.
    """

    name: Positional[str]
    """Data set: cifar10; or a trace of VMs: openb, planetlab, azure_functions_2019,
    azure_functions_2021, azure_vm_2017, azure_vm_2019, azure_packing_2020, huawei_east_1."""
    json: bool = False
    """Print where it lies as JSON on stdout."""

    def run(self) -> ExitCode:
        """Download it, unless it is there already."""
        from mlsys_ray.archives import ARCHIVES
        from mlsys_ray.cli.download_bar import DownloadBar
        from mlsys_ray.download import fetch

        try:
            with usage_errors():
                fetched = fetch(self.name, DownloadBar(self.name))
        except OSError as error:
            raise EnvironmentMissingError(
                f"{self.name} cannot be downloaded ({error}); are you online? Data that is on this"
                " machine is found through --data-dir or MLSYS_RAY_DATA"
            ) from error
        archive = ARCHIVES[self.name]
        origin = "known before" if fetched.known_before else "recorded at your first download"
        say(f"{self.name}: {fetched.path}")
        say(f"checked: {fetched.checksum}, {origin}")
        say(f"terms: {archive.terms}")
        say(f"next: {archive.use.format(path=fetched.path)}")
        if self.json:
            print_json(
                {
                    "name": self.name,
                    "path": fetched.path,
                    "checksum": fetched.checksum,
                    "known_before": fetched.known_before,
                }
            )
        return ExitCode.DONE
