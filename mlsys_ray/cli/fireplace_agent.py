"""The commands `mlsys-ray fireplace agent` and `mlsys-ray fireplace agents`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from mlsys_ray.cli.console import UsageError, print_json, print_table, say, usage_errors
from mlsys_ray.cli.study import StudyPlace, check_rates, study
from mlsys_ray.cluster.agents.config import AgentConfig
from mlsys_ray.exit_codes import ExitCode
from mlsys_ray.fireplace.config import flat_config


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainAgent:
    """Train an RLlib agent on the placement environment, and score it on a held-out trace.

    The agent sees what FirePlace's network sees. With --restore nothing is trained: the checkpoint
    in that run directory is scored.
    """

    agent: Annotated[AgentConfig, arg(name="")]
    restore: Path | None = None
    """Run directory of an agent trained before."""
    run_dir: Path | None = None
    """Run directory; by default a new one under runs/."""
    storage: str | None = None
    """Where the run directory is kept, under its name: a path, s3://bucket/folder or
    gs://bucket/folder that all nodes reach."""
    address: str | None = None
    """Ray cluster to attach to, host:port or auto; by default RAY_ADDRESS, else a local one."""
    json: bool = False
    """Print the scores as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Train, save, restore and score; or restore and score."""
        folder, scores = self._score(self.restore) if self.restore else self._train()
        print_table(scores, title=f"{self.agent.workload.trace}, PAR on a held-out trace")
        if self.json:
            print_json({"run_dir": folder, "policies": scores})
        return ExitCode.DONE

    def _score(self, folder: Path) -> tuple[Path, list[dict[str, Any]]]:
        from mlsys_ray.cluster.agents.study import score_agent
        from mlsys_ray.cluster.agents.training import CHECKPOINT
        from mlsys_ray.cluster.session import ray_session

        if self.run_dir or self.storage:
            raise UsageError("restore writes no run directory: leave run_dir and storage out")
        with ray_session(self.address) as description, usage_errors():
            say(description)
            return folder, score_agent(self.agent, folder / CHECKPOINT)

    def _train(self) -> tuple[Path, list[dict[str, Any]]]:
        from mlsys_ray.cluster.agents.study import run_agent
        from mlsys_ray.cluster.run_directory import RunDirectory, default_run_path
        from mlsys_ray.cluster.session import ray_session
        from mlsys_ray.cluster.storage import keep

        folder = self.run_dir or default_run_path("fireplace-agent")
        config = flat_config(self.agent)
        with ExitStack() as stack, usage_errors():
            home = stack.enter_context(keep(folder, self.storage))
            run = stack.enter_context(
                RunDirectory.create(home.folder, config, experiment="fireplace-agent")
            )
            home.upload()
            say(f"run directory: {home}")
            say(stack.enter_context(ray_session(self.address, storage=home.storage)))
            return home.folder, run_agent(run, self.agent, run.log)


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareAgents:
    """Train several RLlib agents for the same time with Ray Tune, and compare them.

    Each trial takes one CPU.
    """

    agent: Annotated[AgentConfig, arg(name="")]
    place: Annotated[StudyPlace, arg(name="")]
    algorithms: tuple[str, ...] = ()
    """Axis of algorithm."""
    seeds: tuple[int, ...] = ()
    """Axis of seed."""
    learning_rates: tuple[float, ...] = ()
    """Axis of learning_rate."""
    rate_range: tuple[float, float] | None = None
    """Lowest and highest learning rate; Optuna draws --num-rates between them for each algorithm
    and seed, instead of the axis of learning_rate."""
    num_rates: int = 10
    """Learning rates drawn from --rate-range [count]."""
    stop_early: bool = False
    """Stop agents whose return falls behind that of others at the same time (ASHA)."""
    json: bool = False
    """Print the table as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Run what is missing, then write the table and the report."""
        from mlsys_ray.report.study_plots import bars

        with usage_errors():
            check_rates(self.rate_range, self.num_rates, self.learning_rates)
        tried = self.num_rates if self.rate_range else 1
        axes = {
            "algorithms": self.algorithms,
            "seeds": self.seeds,
            "learning_rates": self.learning_rates,
            "rate_range": self.rate_range,
            "num_rates": tried,
        }
        config = {**flat_config(self.agent), **axes}
        with study(self.place, config, "fireplace-agents") as ours:
            from mlsys_ray.cluster.agents.study import expand, run_study

            with usage_errors():
                configs = expand(self.agent, self.algorithms, self.seeds, self.learning_rates)
            say(f"study: {len(configs) * tried} trials")
            table = run_study(
                configs,
                ours.trials,
                rates=self.rate_range,
                num_rates=tried,
                home=ours.home,
                stop_early=self.stop_early,
            )
            ours.run.save_results("PAR on a held-out trace", table)
            names = ("algorithm", "seed", "learning_rate")
            ours.run.save_plot("PAR", bars(table, names, "par", "PAR on a held-out trace"))
            stopped = sum(row["stopped_early"] for row in table)
            failed = len(configs) * tried - sum(row["par"] is not None for row in table) - stopped
            ours.run.finish({"trials": len(table), "failed": failed, "stopped_early": stopped})
        print_table(table)
        if self.json:
            print_json(table)
        return ExitCode.SOME_TRIALS_FAILED if failed else ExitCode.DONE
