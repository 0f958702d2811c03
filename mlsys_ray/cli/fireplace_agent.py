"""The commands `mlsys-ray fireplace agent` and `mlsys-ray fireplace agents`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from mlsys_ray.cli.console import print_json, print_table, say, usage_errors
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
    address: str | None = None
    """Ray cluster to attach to, host:port or auto; by default RAY_ADDRESS, else a local one."""
    json: bool = False
    """Print the scores as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Train, save, restore and score; or restore and score."""
        from mlsys_ray.cluster.run_directory import RunDirectory, default_run_path
        from mlsys_ray.cluster.session import ray_session

        folder = self.run_dir or default_run_path("fireplace-agent")
        with ray_session(self.address) as description, ExitStack() as stack, usage_errors():
            from mlsys_ray.cluster.agents.study import run_agent, score_agent
            from mlsys_ray.cluster.agents.training import CHECKPOINT

            say(description)
            if self.restore:
                scores = score_agent(self.agent, self.restore / CHECKPOINT)
            else:
                say(f"run directory: {folder}")
                run = stack.enter_context(
                    RunDirectory.create(
                        folder, flat_config(self.agent), experiment="fireplace-agent"
                    )
                )
                scores = run_agent(run, self.agent, run.log)
        print_table(scores, title=f"{self.agent.workload.trace}, PAR on a held-out trace")
        if self.json:
            print_json({"run_dir": self.restore or folder, "policies": scores})
        return ExitCode.DONE


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareAgents:
    """Train several RLlib agents for the same time with Ray Tune, and compare them.

    Each trial takes one CPU. Given the same run directory again, only what is missing is run.
    """

    agent: Annotated[AgentConfig, arg(name="")]
    algorithms: tuple[str, ...] = ()
    """Axis of algorithm."""
    seeds: tuple[int, ...] = ()
    """Axis of seed."""
    learning_rates: tuple[float, ...] = ()
    """Axis of learning_rate."""
    run_dir: Path | None = None
    """Folder of the study; by default a new one under runs/. On several nodes it must be on a disk
    that all of them share."""
    address: str | None = None
    """Ray cluster to attach to, host:port or auto; by default RAY_ADDRESS, else a local one."""
    json: bool = False
    """Print the table as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Run what is missing, then write the table and the report."""
        from mlsys_ray.cluster.run_directory import RunDirectory, default_run_path
        from mlsys_ray.cluster.session import ray_session
        from mlsys_ray.report.html import write_report

        folder = self.run_dir or default_run_path("fireplace-agents")
        axes = {
            "algorithms": self.algorithms,
            "seeds": self.seeds,
            "learning_rates": self.learning_rates,
        }
        with ray_session(self.address) as description, ExitStack() as stack:
            from mlsys_ray.cluster.agents.study import expand, run_study

            say(description)
            with usage_errors():
                configs = expand(self.agent, self.algorithms, self.seeds, self.learning_rates)
                run = stack.enter_context(
                    RunDirectory.create(
                        folder,
                        {**flat_config(self.agent), **axes},
                        experiment="fireplace-agents",
                        resume=True,
                    )
                )
            say(f"study: {folder}, {len(configs)} trials")
            table = run_study(configs, folder / "trials")
            run.save_table("PAR on a held-out trace", table)
            failed = sum(row["par"] is None for row in table)
            run.finish({"trials": len(table), "failed": failed})
        report = write_report([folder], folder / "report.html")
        print_table(table)
        say(f"report: {report.path}")
        if self.json:
            print_json(table)
        return ExitCode.SOME_TRIALS_FAILED if failed else ExitCode.DONE
