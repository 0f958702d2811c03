"""The commands `mlsys-ray byzshield ...`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated, Any

from tyro.conf import arg

from mlsys_ray.byzshield.config import TrainConfig
from mlsys_ray.cli.console import UsageError, print_json, print_table, say, usage_errors
from mlsys_ray.cluster.place import Place
from mlsys_ray.exit_codes import ExitCode


@dataclass(frozen=True, kw_only=True, slots=True)
class Train:
    """Train with a parameter server and K workers, q of them Byzantine.

    Metrics of each iteration, the summary and the checkpoint go to the run directory;
    docs/byzshield.md says what each number is.
    """

    config: Annotated[TrainConfig, arg(name="")]
    place: Annotated[Place, arg(name="")]
    json: bool = False
    """Print the summary as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Train; failed if no file was ever decided."""
        from mlsys_ray.cli.progress import TrainingProgress
        from mlsys_ray.cluster.run_reader import load_run
        from mlsys_ray.cluster.training import Training

        with ExitStack() as stack:
            with usage_errors():
                training = stack.enter_context(Training.open(self.config, self.place))
            progress = TrainingProgress(self.config.iterations, self.config.scheme)
            progress.say(f"run directory: {training.home}")
            training.train(stack.enter_context(progress))
        run = load_run(training.run.path)
        print_table([_shown(run.summary)])
        if self.json:
            print_json({"run_dir": run.path, **run.summary})
        page = f"mlsys-ray report {run.path}"
        say(f"run directory: {training.home}; for a page with its plots: {page}")
        if run.status != "done":
            say("the run failed: not one file was ever decided; its events say why")
            return ExitCode.FAILED
        return ExitCode.DONE


def _workers(byzantine: list[int] | None) -> str:
    if byzantine is None:
        return "rotating"
    return ", ".join(map(str, byzantine)) or "none"


def _paper_symbols(row: dict[str, Any]) -> dict[str, Any]:
    detected = {}
    if "undetected_c_max" in row:
        detected = {"c_max with detection": row["undetected_c_max"]}
    return {
        "q": row["byzantine"],
        "c_max": row["c_max"],
        **detected,
        "ε": row["epsilon"],
        "ε baseline": row["baseline"],
        "ε FRC": row["frc"],
        "γ": row["gamma"],
        "exact": row["exact"],
        "seconds": row["seconds"],
    }


def _shown(summary: dict[str, Any]) -> dict[str, Any]:
    events = {kind: count for kind, count in summary["events"].items() if count}
    names = ("final_accuracy", "best_accuracy", "distortion", "seconds_per_iteration")
    return {
        "status": summary["status"],
        **{name: summary[name] for name in names},
        "byzantine": _workers(summary["byzantine"]),
        "events": ", ".join(f"{kind} {count}" for kind, count in events.items()) or "none",
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Distortion:
    """How many files q Byzantine workers can distort at most, exactly.

    For aspis also how many where clique detection leaves liars out.
    """

    scheme: str = "mols"
    """Assignment code: affine, aspis, aspis_plus, baseline, frc (DETOX), mols, ramanujan1 or
    ramanujan2."""
    load: int | None = None
    """Files per worker, l [files]; for affine, mols and both ramanujan."""
    replication: int | None = None
    """Workers per file, r [workers]; for every scheme but aspis_plus and baseline."""
    num_workers: int | None = None
    """Workers, K [workers]; for aspis, aspis_plus, baseline and frc, the others imply it."""
    byzantine: tuple[int, ...] = (2, 3, 4, 5, 6, 7)
    """Numbers of Byzantine workers, q [workers]."""
    time_limit: float | None = None
    """For each q; the best set found by then is marked as not exact [seconds]."""
    details: bool = False
    """Add the bound from pairs of workers and a worst set to the JSON."""
    json: bool = False
    """Print the rows as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Print a row for each q."""
        if not self.byzantine:
            raise UsageError("byzantine is empty, must be one number of workers or more")
        with usage_errors():
            from mlsys_ray.byzshield.assignment import make_assignment
            from mlsys_ray.byzshield.detection import undetected_c_max
            from mlsys_ray.byzshield.distortion import distortion_row

            assignment = make_assignment(
                self.scheme,
                num_workers=self.num_workers,
                load=self.load,
                replication=self.replication,
            )
            rows: list[dict[str, Any]] = [
                {**distortion_row(assignment, q, time_limit=self.time_limit, details=self.details)}
                for q in self.byzantine
            ]
            if self.scheme == "aspis":
                for row in rows:
                    row["undetected_c_max"] = undetected_c_max(row["byzantine"], row["replication"])
        one = rows[0]
        print_table(
            [_paper_symbols(row) for row in rows],
            title=f"{self.scheme}: K={one['num_workers']} workers, f={one['num_files']} files,"
            f" l={one['load']}, r={one['replication']}",
        )
        if self.json:
            print_json(rows)
        return ExitCode.DONE
