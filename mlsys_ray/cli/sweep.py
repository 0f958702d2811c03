"""The command `mlsys-ray byzshield sweep`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from mlsys_ray.byzshield.config import TrainConfig
from mlsys_ray.cli.console import print_json, print_table, say, usage_errors
from mlsys_ray.cli.study import Study, StudyPlace, check_rates, study
from mlsys_ray.exit_codes import ExitCode

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mlsys_ray.cluster.run_reader import Run


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """Train over all combinations of schemes, rules, attacks, q, learning rates and seeds.

    An axis that is not given keeps the value of the run's own flag. Each trial takes one CPU;
    of the learning rates, the table shows the best for each method.
    """

    config: Annotated[TrainConfig, arg(name="")]
    place: Annotated[StudyPlace, arg(name="")]
    schemes: tuple[str, ...] = ()
    """Axis of scheme."""
    rules: tuple[str, ...] = ()
    """Axis of rule."""
    attacks: tuple[str, ...] = ()
    """Axis of attack, each a name or name:strength, as in alie:1.0."""
    byzantine_counts: tuple[int, ...] = ()
    """Axis of byzantine, q [workers]."""
    learning_rates: tuple[float, ...] = ()
    """Axis of learning_rate."""
    seeds: tuple[int, ...] = ()
    """Axis of seed."""
    rate_range: tuple[float, float] | None = None
    """Lowest and highest learning rate; Optuna draws --num-rates between them for each other
    setting, instead of the axis of learning_rate."""
    num_rates: int = 10
    """Learning rates drawn from --rate-range [count]."""
    stop_early: bool = False
    """Stop trials whose accuracy falls behind that of others at the same iteration (ASHA)."""
    data_dir: Path | None = None
    """Folder with the data set; searched before MLSYS_RAY_DATA and the user cache."""
    json: bool = False
    """Print the table as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Run what is missing, then write the table, the plots and the report."""
        from mlsys_ray.cluster.sweep import expand

        with usage_errors():
            check_rates(self.rate_range, self.num_rates, self.learning_rates)
            configs, refused = expand(self.config, self._axes())
        tried = self.num_rates if self.rate_range else 1
        asked = {**self._axes(), "rate_range": self.rate_range, "num_rates": tried}
        with study(self.place, {"config": self.config, **asked}, "byzshield-sweep") as ours:
            say(f"study: {len(configs) * tried} trials")
            runs, stopped = self._run_trials(configs, ours)
            table = best_rates(runs)
            ours.run.save_results("accuracy", table + [_refusal(*item) for item in refused])
            for name, figure in _figures(table, runs):
                ours.run.save_plot(name, figure)
            missing = len(configs) * tried - len(runs) - stopped
            ours.run.finish(
                {
                    "trials": len(configs) * tried,
                    "failed": missing,
                    "stopped_early": stopped,
                    "refused": len(refused),
                }
            )
        if table:
            print_table([_shown(row) for row in table])
        for point, reason in refused:
            say(f"refused: {point}: {reason}")
        if self.json:
            print_json(table)
        return ExitCode.SOME_TRIALS_FAILED if missing else ExitCode.DONE

    def _run_trials(self, configs: Sequence[TrainConfig], ours: Study) -> tuple[list[Run], int]:
        """The runs that came to their end, and how many were stopped early."""
        from mlsys_ray.cluster.sweep import run_trials, search_rates, sweep_path
        from mlsys_ray.cluster.trials import recorded, stopped_early

        if self.rate_range:
            settled = [
                trial
                for config in configs
                for trial in search_rates(
                    config,
                    self.rate_range,
                    self.num_rates,
                    ours.trials,
                    self.data_dir,
                    home=ours.home,
                    stop_early=self.stop_early,
                )
            ]
            runs = [trial.run for trial in settled if trial.run is not None]
            return runs, len(settled) - len(runs)
        run_trials(configs, ours.trials, self.data_dir, home=ours.home, stop_early=self.stop_early)
        paths = [sweep_path(ours.trials, config) for config in configs]
        found = [recorded(path) for path in paths]
        stopped = sum(stopped_early(path) is not None for path in paths)
        return [run for run in found if run is not None], stopped

    def _axes(self) -> dict[str, Sequence[Any]]:
        axes: dict[str, Sequence[Any]] = {
            "scheme": self.schemes,
            "rule": self.rules,
            "attack": self.attacks,
            "byzantine": self.byzantine_counts,
            "learning_rate": self.learning_rates,
            "seed": self.seeds,
        }
        return {name: values for name, values in axes.items() if values}


def best_rates(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """One row for each method and adversary: the learning rate that did best over the seeds.

    Accuracies are means of the last 5 evaluations, as the paper's are read from its figures.
    """
    groups: dict[tuple[Any, ...], dict[float, list[Run]]] = {}
    for run in runs:
        method = tuple(run.config[name] for name in ("attack", "byzantine", "scheme", "rule"))
        groups.setdefault(method, {}).setdefault(run.config["learning_rate"], []).append(run)
    rows = []
    for (attack, byzantine, scheme, rule), rates in sorted(groups.items(), key=repr):
        rate, chosen = max(rates.items(), key=lambda item: _mean_accuracy(item[1]))
        accuracies = [run.summary["late_accuracy"] for run in chosen]
        rows.append(
            {
                "attack": attack,
                "byzantine": byzantine,
                "scheme": scheme,
                "rule": rule,
                "distortion": chosen[0].summary["distortion"],
                "learning_rate": rate,
                "rates_tried": len(rates),
                "seeds": len(chosen),
                "accuracy": _mean_accuracy(chosen),
                "lowest": min(accuracies),
                "highest": max(accuracies),
                "seconds_per_iteration": chosen[0].summary["seconds_per_iteration"],
                "reason": None,
            }
        )
    return rows


def _mean_accuracy(runs: Sequence[Run]) -> float:
    return sum(run.summary["late_accuracy"] for run in runs) / len(runs)


def _refusal(point: dict[str, Any], reason: str) -> dict[str, Any]:
    return {**point, "reason": reason}


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    names = ("attack", "byzantine", "scheme", "rule", "distortion", "learning_rate", "accuracy")
    return {"q" if name == "byzantine" else name: row[name] for name in names} | {
        "range": f"{row['lowest']:.3f} to {row['highest']:.3f}"
    }


def _figures(table: Sequence[dict[str, Any]], runs: Sequence[Run]) -> Iterator[tuple[str, Figure]]:
    """A picture for each attack, as the paper's Figures 2 to 8: accuracy of each method."""
    for attack in dict.fromkeys(row["attack"] for row in table):
        chosen = {
            f"{row['scheme']}, {row['rule']}, q = {row['byzantine']}": next(
                run for run in runs if _is_of(run, row)
            )
            for row in table
            if row["attack"] == attack
        }
        yield f"accuracy under {attack or 'no attack'}", accuracy_figure(chosen)


def _is_of(run: Run, row: dict[str, Any]) -> bool:
    names = ("attack", "byzantine", "scheme", "rule", "learning_rate")
    return all(run.config[name] == row[name] for name in names)


def accuracy_figure(runs: Mapping[str, Run]) -> Figure:
    """Test accuracy by iteration of some runs, by their label."""
    from mlsys_ray.report.plots import Curve, curves

    lines = []
    for slot, (label, run) in enumerate(runs.items()):
        metrics = run.metrics.dropna(subset=["test_accuracy"])
        x, y = (metrics[name].to_numpy(float) for name in ("iteration", "test_accuracy"))
        lines.append(Curve(label=label, slot=slot, x=x, y=y))
    return curves(lines, x_label="iteration", y_label="test accuracy")
