"""The command `mlsys-ray value-learning search`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from mlsys_ray.cli.console import print_json, print_table, say, usage_errors
from mlsys_ray.cli.study import StudyPlace, study
from mlsys_ray.cli.value_learning_common import require_halide
from mlsys_ray.exit_codes import ExitCode


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareSearches:
    """Compare searches on held-out layers: by the value network, and by measuring, on Ray Tune."""

    place: Annotated[StudyPlace, arg(name="")]
    methods: tuple[Literal["greedy", "beam", "random", "evolutionary"], ...] = (
        "greedy",
        "beam",
        "random",
        "evolutionary",
    )
    """Which searches."""
    layers: tuple[str, ...] = ()
    """Names of held-out layers; all by default."""
    trials: tuple[int, ...] = (64,)
    """Measurements of those that measure."""
    model: Path | None = None
    """Value network; the shipped one by default."""
    threads: int = 1
    """Threads of a kernel, and CPUs of a trial, which is the only one of its node that measures."""
    seed: int = 0
    """Of the searches that draw."""
    json: bool = False
    """Print the rows as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Run what is not recorded yet, and print the table."""
        require_halide()
        from mlsys_ray.cluster.value_learning.study import expand, run_study
        from mlsys_ray.report.study_plots import bars

        with usage_errors():
            trials = expand(
                self.methods,
                self.layers,
                self.trials,
                threads=self.threads,
                seed=self.seed,
                model=self.model,
            )
        asked = {
            "methods": self.methods,
            "layers": self.layers,
            "trials": self.trials,
            "threads": self.threads,
            "seed": self.seed,
            "model": self.model,
        }
        with study(self.place, asked, "value-learning-study") as ours:
            say(f"study: {len(trials)} searches")
            rows = run_study(trials, ours.trials, home=ours.home)
            ours.run.save_results("searches", rows)
            names = ("layer", "method", "trials")
            ours.run.save_plot("runtimes", bars(rows, names, "ms", "runtime found [ms]"))
            failed = sum(row["ms"] is None for row in rows)
            ours.run.finish({"trials": len(rows), "failed": failed})
        print_table(rows, title="Searches")
        if self.json:
            print_json(rows)
        return ExitCode.SOME_TRIALS_FAILED if failed else ExitCode.DONE
