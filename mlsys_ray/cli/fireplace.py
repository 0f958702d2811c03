"""The commands `mlsys-ray fireplace train` and `mlsys-ray fireplace evaluate`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from mlsys_ray.cli.console import print_json, print_table, say, usage_errors
from mlsys_ray.cli.study import StudyPlace, study
from mlsys_ray.exit_codes import ExitCode
from mlsys_ray.fireplace.config import (
    EvaluationConfig,
    TrainingConfig,
    WorkloadConfig,
    flat_config,
)

if TYPE_CHECKING:
    from mlsys_ray.cluster.run_directory import RunDirectory


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainPlacement:
    """Train FirePlace, and tune the policies it is compared with, on a workload.

    Takes minutes. Uses the workload's training and validation segments only; the model goes to the
    run directory as model.safetensors.
    """

    workload: Annotated[WorkloadConfig, arg(name="")]
    training: Annotated[TrainingConfig, arg(name="")]
    run_dir: Path | None = None
    """Run directory; by default a new one under runs/."""
    json: bool = False
    """Print the model's card as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Train, and write the model."""
        from mlsys_ray.cluster.run_directory import RunDirectory, default_run_path
        from mlsys_ray.fireplace.training import train

        folder = self.run_dir or default_run_path("fireplace-train")
        config = {**asdict(self.workload), **asdict(self.training)}
        with ExitStack() as stack:
            with usage_errors():
                run = stack.enter_context(
                    RunDirectory.create(folder, config, experiment="fireplace-train")
                )
            say(f"run directory: {folder}")

            def progress(what: str, done: int, total: int, par: float) -> None:
                run.log({"policy": what, "done": done, "total": total, "par": par})
                say(f"{what:<22} {done:>4} of {total}  PAR {par:.4f}")

            with usage_errors():
                model = train(self.workload, self.training, progress)
            path = run.write("model.safetensors", model.to_bytes())
            pars = model.card["validation_par"]
            run.finish(
                {
                    "validation_par_certainty_equivalent": pars[0],
                    "validation_par_fireplace": min(pars),
                    **{f"seconds_{name}": s for name, s in model.card["seconds"].items()},
                }
            )
        say(f"model: {path}; evaluate it by mlsys-ray fireplace evaluate --model {path}")
        if self.json:
            print_json(model.card)
        return ExitCode.DONE


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluatePlacement:
    """Place held-out traces with every policy, and score the peak-to-average ratio (PAR) of use.

    Each trace is a task of one CPU on a local Ray cluster, or on the one at --address.
    """

    evaluation: Annotated[EvaluationConfig, arg(name="")]
    place: Annotated[StudyPlace, arg(name="")]
    json: bool = False
    """Print the summary as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Evaluate, and write the table, the plots and the report."""
        config = flat_config(self.evaluation)
        with study(self.place, config, "fireplace-evaluate") as ours, usage_errors():
            summary = evaluate_into(ours.run, self.evaluation)
        print_policies(self.evaluation, summary)
        if self.json:
            print_json({"run_dir": ours.home.folder, **summary})
        return ExitCode.DONE


def evaluate_into(run: RunDirectory, config: EvaluationConfig) -> dict[str, Any]:
    """Evaluate on the connected cluster, and write rows, table, plots and summary to the run."""
    from mlsys_ray.cluster.placement import evaluate_on_ray

    summary, records = evaluate_on_ray(
        config,
        run.path,
        lambda part, done, total, best: say(f"{part}: {done} of {total} traces; {best}"),
    )
    run.rewind(0)
    for record in records:
        run.log(record)
    run.save_table("policies", _sorted_rows(summary))
    _save_plots(run, config, summary)
    run.finish(_headlines(summary))
    return summary


def print_policies(config: EvaluationConfig, summary: dict[str, Any]) -> None:
    """Print the table of an evaluation."""
    print_table([_shown(row) for row in _sorted_rows(summary)], title=_title(config, summary))


def _sorted_rows(summary: dict[str, Any]) -> list[dict[str, Any]]:
    rows = [{"policy": name, **row} for name, row in summary["policies"].items()]
    return sorted(rows, key=lambda row: row["par"])


def _headlines(summary: dict[str, Any]) -> dict[str, Any]:
    names = ("excess_reduction_vs_best_baseline", "excess_reduction_vs_certainty_equivalent")
    pars = {f"par_{name}": row["par"] for name, row in summary["policies"].items()}
    found = {name: summary[name] for name in ("best_baseline", *names) if summary.get(name)}
    return {**pars, **found}


def _title(config: EvaluationConfig, summary: dict[str, Any]) -> str:
    workload = config.workload
    title = (
        f"{workload.trace}: {workload.num_vms} VMs on {workload.num_pms} PMs,"
        f" {summary['num_seeds']} traces; less excess: PAR - 1 against {summary['best_baseline']}"
    )
    if rungs := summary["hindsight"]:
        title += f"; hindsight {rungs['full']:.4f}, spike-blind {rungs['spike_blind']:.4f}"
    return title


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    reduction, width = row.get("excess_reduction"), row.get("excess_reduction_half_width")
    less = None if reduction is None else f"{reduction:.1f}%"
    if width is not None:
        less = f"{less} ± {width:.1f}"
    resources = {
        key: value
        for key, value in row.items()
        if key.startswith("par_") and key not in {"par_p95", "par_busiest", "par_half_width"}
    }
    return {
        "policy": row["policy"],
        "rests on": row["knowledge"],
        "PAR": round(row["par"], 4),
        **{f"PAR {key[4:]}": round(value, 4) for key, value in resources.items()},
        "p95": round(row["par_p95"], 3),
        "less excess": less,
        "refused": row["refused"],
        "placements/s": int(row["placements_per_second"]),
    }


def _save_plots(run: RunDirectory, config: EvaluationConfig, summary: dict[str, Any]) -> None:
    from mlsys_ray.fireplace.evaluation import policies_of
    from mlsys_ray.fireplace.workload import make_workload
    from mlsys_ray.report.placement_plots import par_bars, par_over_time, pm_loads

    run.save_plot("PAR of each policy", par_bars(summary["policies"], summary["hindsight"] or {}))
    policies = summary["policies"]
    wanted = {summary["best_baseline"], "certainty_equivalent", "fireplace"} & set(policies)
    workload = make_workload(config.workload, "test", config.seed)
    shown = sorted(wanted or set(policies), key=lambda name: -policies[name]["par"])
    by_name = {policy.name: policy for policy in policies_of(config)}
    loads = {name: workload.run(by_name[name], config.seed).load for name in shown}
    resources = workload.trace.resources
    run.save_plot("PAR over time", par_over_time(loads, resources))
    ends = {name: loads[name] for name in dict.fromkeys((shown[0], shown[-1]))}
    run.save_plot(f"{resources[0]} load of every PM", pm_loads(ends, resources[0], 0))
