"""The command `mlsys-ray value-learning search`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean
from typing import Annotated, Any, Literal

from tyro.conf import arg

from mlsys_ray.cli.console import print_json, print_table, say, usage_errors
from mlsys_ray.cli.study import StudyPlace, study
from mlsys_ray.cli.value_learning_common import require_halide
from mlsys_ray.exit_codes import ExitCode


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareSearches:
    """Compare searches on held-out layers: by the value network, and by measuring, on Ray Tune.

    Of beam and evolutionary searches it also tells how long the latter takes to a runtime as short.
    """

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
    """Print the result as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Run what is not recorded yet, and print the table."""
        require_halide()
        from mlsys_ray.cluster.value_learning.study import expand, run_study, same_runtime
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
            summary: dict[str, Any] = {"trials": len(rows), "failed": failed}
            both = same_runtime(trials, ours.trials)
            if both:
                ours.run.save_table("time to the same runtime", both)
                summary |= {
                    "layers": len(both),
                    "not_reached": sum(not row["reached"] for row in both),
                    "search_speedup": geometric_mean(row["ratio"] for row in both),
                }
            ours.run.finish(summary)
        print_table(rows, title="Searches")
        if both:
            print_table(both, title="Seconds until measuring finds what the beam search found")
        if self.json:
            print_json({**summary, "searches": rows, "same_runtime": both})
        return ExitCode.SOME_TRIALS_FAILED if failed else ExitCode.DONE
