"""The command `mlsys-ray byzshield reproduce`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import arg

from mlsys_ray.cli.console import print_json, print_table
from mlsys_ray.cli.study import StudyPlace, kept_study, study_session
from mlsys_ray.cli.sweep import accuracy_figure
from mlsys_ray.exit_codes import ExitCode

if TYPE_CHECKING:
    from mlsys_ray.byzshield.paper.accuracy import Series
    from mlsys_ray.cluster.run_reader import Run


@dataclass(frozen=True, kw_only=True, slots=True)
class Reproduce:
    """The paper's Tables 3 to 6 and Figures 2 to 11: paper and here."""

    place: Annotated[StudyPlace, arg(name="")]
    scale: Literal["small", "paper"] = "small"
    """small: a small network on digits, minutes on 2 cores, to be compared within a figure;
    paper: ResNet-18 on CIFAR-10 as in the paper, about 20 core-hours a curve."""
    figures: tuple[int, ...] = (2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
    """Figures to run; none for the tables alone."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of each curve; accuracies are means over them."""
    max_byzantine: int = 13
    """Largest q of the tables [workers]."""
    data_dir: Path | None = None
    """Folder with the data set; searched before MLSYS_RAY_DATA and the user cache."""
    json: bool = False
    """Print both tables as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Compute the tables, run what is missing of the figures, write the report."""
        from mlsys_ray.byzshield.paper.accuracy import FIGURES, run_config
        from mlsys_ray.byzshield.paper.distortion import reproduce_distortion
        from mlsys_ray.cluster.sweep import run_trials, sweep_path
        from mlsys_ray.cluster.trials import recorded

        chosen = [series for series in FIGURES if series.figure in self.figures]
        configs = {
            series: [run_config(series, self.scale, seed) for seed in self.seeds]
            for series in chosen
        }
        with kept_study(self.place, {"scale": self.scale}, "byzshield-reproduce") as ours:
            distortion = list(reproduce_distortion(self.max_byzantine))
            ours.run.save_table("distortion, paper and here", distortion)
            print_table(distortion, title="Tables 3 to 6")
            trials = [config for several in configs.values() for config in several]
            if trials:
                with study_session(self.place, ours):
                    run_trials(trials, ours.trials, self.data_dir, home=ours.home)
            runs = {
                series: [recorded(sweep_path(ours.trials, config)) for config in several]
                for series, several in configs.items()
            }
            accuracy = [_row(series, found) for series, found in runs.items()]
            if accuracy:
                ours.run.save_table("accuracy, paper and here", accuracy)
                print_table(accuracy, title=f"Figures, {self.scale} scale: accuracy [percent]")
            for figure in dict.fromkeys(series.figure for series in chosen):
                curves = {
                    f"{series.method}, q = {series.byzantine}": found[0]
                    for series, found in runs.items()
                    if series.figure == figure and found[0] is not None
                }
                if curves:
                    ours.run.save_plot(f"figure {figure:02}", accuracy_figure(curves))
            missing = sum(trial is None for found in runs.values() for trial in found)
            differences = sum(row["difference"] != 0 for row in distortion)
            ours.run.finish({"trials": len(trials), "failed": missing, "differences": differences})
        if self.json:
            print_json({"distortion": distortion, "accuracy": accuracy})
        if differences:
            return ExitCode.FAILED
        return ExitCode.SOME_TRIALS_FAILED if missing else ExitCode.DONE


def _row(series: Series, found: Sequence[Run | None]) -> dict[str, Any]:
    accuracies = [100 * run.summary["late_accuracy"] for run in found if run is not None]
    return {
        "figure": series.figure,
        "attack": series.attack,
        "K": series.num_workers,
        "method": series.method,
        "q": series.byzantine,
        "paper": series.accuracy,
        "here": sum(accuracies) / len(accuracies) if accuracies else None,
        "seeds": len(accuracies),
    }
