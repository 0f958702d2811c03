"""The command `mlsys-ray ios study`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated

from tyro.conf import arg

from mlsys_ray.cli.console import print_json, print_table, say, usage_errors
from mlsys_ray.cli.study import StudyPlace, study
from mlsys_ray.cluster.ios_study import SearchConfig, Strategy
from mlsys_ray.exit_codes import ExitCode


@dataclass(frozen=True, kw_only=True, slots=True)
class StudySchedules:
    """Search over all combinations of networks, batch sizes, strategies and prunings with Ray Tune.

    An axis that is not given keeps the value of the search's own flag. A trial takes as many CPUs
    as its engine has threads, and is the only one of its node that measures times.
    """

    search: Annotated[SearchConfig, arg(name="")]
    place: Annotated[StudyPlace, arg(name="")]
    networks: tuple[str, ...] = ()
    """Axis of network."""
    batch_sizes: tuple[int, ...] = ()
    """Axis of batch_size; with several, each schedule is run at all of them."""
    strategies: tuple[Strategy, ...] = ()
    """Axis of strategy."""
    group_sizes: tuple[int, ...] = ()
    """Axis of max_group_size (r)."""
    groups: tuple[int, ...] = ()
    """Axis of max_groups (s)."""
    json: bool = False
    """Print the tables as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Run what is missing, then write the tables and the report."""
        from itertools import product

        from mlsys_ray.cluster.ios_study import expand, run_specialisation, run_study
        from mlsys_ray.report.study_plots import bars

        sizes = self.group_sizes or (self.search.max_group_size,)
        limits = self.groups or (self.search.max_groups,)
        axes = {
            "networks": self.networks,
            "batch_sizes": self.batch_sizes,
            "strategies": self.strategies,
            "prunings": list(product(sizes, limits)),
        }
        with usage_errors():
            configs = expand(self.search, *axes.values())  # type: ignore[arg-type]
        config = {"search": asdict(self.search), **axes}
        with study(self.place, config, "ios-study") as ours:
            say(f"study: {len(configs)} searches")
            table = run_study(configs, ours.trials, home=ours.home)
            ours.run.save_results("searches", table)
            matrix = run_specialisation(configs, ours.trials, home=ours.home)
            if matrix:
                ours.run.save_table("run at one batch size, optimised for another", matrix)
            tell = ("network", "batch_size", "strategy", "r", "s")
            ours.run.save_plot("latencies", bars(table, tell, "min_ms", "latency [ms]"))
            failed = sum(row["min_ms"] is None for row in table)
            ours.run.finish({"trials": len(table), "failed": failed})
        print_table(table, title="latencies [ms], by pruning P(r, s)")
        if matrix:
            names = dict.fromkeys(name for row in matrix for name in row)
            shown = [{name: row.get(name) for name in names} for row in matrix]
            print_table(shown, title="row: run at; column: optimised for [ms]")
        if self.json:
            print_json({"run_dir": ours.home.folder, "searches": table, "specialisation": matrix})
        return ExitCode.SOME_TRIALS_FAILED if failed else ExitCode.DONE
