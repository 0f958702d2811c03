"""The command `mlsys-ray fireplace trace`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from mlsys_ray.cli.console import print_json, print_table, say, usage_errors
from mlsys_ray.exit_codes import ExitCode

if TYPE_CHECKING:
    from mlsys_ray.fireplace.trace import Trace


@dataclass(frozen=True, kw_only=True, slots=True)
class DescribeTrace:
    """Describe a trace, draw it, and convert it.

    Generated and composite traces are named, recorded ones are files; docs/fireplace_traces.md says
    what each format holds and where the public sets are.
    """

    source: Positional[str]
    """microvm, microvm-short, openb+planetlab, or a file."""
    format: str = "table"
    """Format of a file: table (this project's CSV or parquet), openb, planetlab,
    azure_functions_2019, azure_functions_2021, azure_vm, azure_packing_2020 or huawei_east_1."""
    tick: float | None = None
    """Telemetry interval [s]; by default the format's usual one."""
    skip_broken: bool = False
    """Leave broken rows of a file out, and say which, instead of refusing it."""
    num_vms: int | None = None
    """VMs: of a generated trace (100,000 by default), or of copies of a file laid over one
    another [VMs]."""
    alive: float = 2250.0
    """Mean number of VMs alive, where there are `num_vms` [VMs]."""
    seed: int = 0
    """Seed of a generated trace or of the copies."""
    convert: Path | None = None
    """Write the trace to this parquet file, which the other commands read."""
    run_dir: Path | None = None
    """Run directory; by default a new one under runs/."""
    data_dir: Path | None = None
    """Folder with recorded traces; searched before MLSYS_RAY_DATA and the user cache."""
    json: bool = False
    """Print the description as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Read or generate the trace, and describe it."""
        from mlsys_ray.cluster.run_directory import RunDirectory, default_run_path
        from mlsys_ray.fireplace.description import describe
        from mlsys_ray.fireplace.traces.table import write_table
        from mlsys_ray.report.trace_plots import lives, over_time

        folder = self.run_dir or default_run_path("fireplace-trace")
        with ExitStack() as stack:
            with usage_errors():
                if self.convert and self.convert.suffix != ".parquet":
                    raise ValueError(f"convert is {self.convert}; it must end in .parquet")
                trace = self._trace()
                run = stack.enter_context(
                    RunDirectory.create(folder, asdict(self), experiment="fireplace-trace")
                )
            description = describe(trace)
            run.save_plot("lives", lives(trace))
            run.save_plot("over time", over_time(trace))
            if self.convert:
                write_table(trace, self.convert)
            run.finish(description)
        print_table([{"": name, "value": value} for name, value in description.items()])
        say(f"plots: {folder / 'plots'}")
        if self.json:
            print_json({"run_dir": folder, **description})
        return ExitCode.DONE

    def _trace(self) -> Trace:
        from mlsys_ray.fireplace.config import WorkloadConfig
        from mlsys_ray.fireplace.traces import read_trace
        from mlsys_ray.fireplace.traces.composite import overlay
        from mlsys_ray.fireplace.workload import NAMED_TRACES, make_trace

        if self.source in NAMED_TRACES:
            config = WorkloadConfig(
                trace=self.source, num_pms=1, alive_per_pm=self.alive, data_dir=self.data_dir
            )
            return make_trace(config, "test", self.seed, self.num_vms)
        if not Path(self.source).exists():
            raise ValueError(
                f"source is {self.source!r}; accepted: {', '.join(NAMED_TRACES)} or a file"
            )
        read = read_trace(
            Path(self.source), format=self.format, tick=self.tick, skip_broken=self.skip_broken
        )
        if read.broken.count:
            say(f"skipped {read.broken.count} broken rows: {read.broken}")
        if self.num_vms is None:
            return read.trace
        return overlay(read.trace, num_vms=self.num_vms, alive=self.alive, seed=self.seed)
