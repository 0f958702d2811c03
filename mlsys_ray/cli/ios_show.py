"""The command `mlsys-ray ios show`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from mlsys_ray.cli.console import print_json, print_table, say, usage_errors
from mlsys_ray.exit_codes import ExitCode


@dataclass(frozen=True, kw_only=True, slots=True)
class ShowSchedule:
    """Draw a schedule file: its stages, groups, their threads, and the kernels of operators."""

    schedule: Positional[Path]
    """File that `mlsys-ray ios optimize` has written."""
    out: Path | None = None
    """The picture; by default beside the schedule, with the suffix .png."""
    max_stages: int = 120
    """Stages that are drawn, from the first."""
    json: bool = False
    """Print what the schedule holds as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Read, draw, describe."""
        from mlsys_ray.ios.schedule import load_schedule
        from mlsys_ray.report.ios_schedule import describe_schedule, schedule_picture

        with usage_errors():
            if self.max_stages < 1:
                raise ValueError(f"max_stages must be 1 or more, is {self.max_stages}")
            schedule = load_schedule(self.schedule)
        out = self.out or self.schedule.with_suffix(".png")
        schedule_picture(schedule, self.max_stages).savefig(out, dpi=160)
        found = describe_schedule(schedule)
        print_table([{name: str(value) for name, value in found.items()}], title=str(self.schedule))
        say(f"picture: {out}")
        if self.json:
            print_json({"picture": out, **found})
        return ExitCode.DONE
