"""The command `mlsys-ray fireplace agent`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from mlsys_ray.cli.console import print_json, print_table, say, usage_errors
from mlsys_ray.cli.fireplace import flat_config
from mlsys_ray.cluster.agents.config import AgentConfig
from mlsys_ray.exit_codes import ExitCode


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainAgent:
    """Train an RLlib agent on the placement environment, and score it on a held-out trace.

    The agent sees what FirePlace's network sees. With --restore nothing is trained: the checkpoint
    in that run directory is scored.
    """

    agent: Annotated[AgentConfig, arg(name="")]
    test_vms: int = 20_000
    """VMs of the held-out trace [VMs]."""
    restore: Path | None = None
    """Run directory of an agent trained before."""
    run_dir: Path | None = None
    """Run directory; by default a new one under runs/."""
    address: str | None = None
    """Ray cluster to attach to, host:port or auto; by default RAY_ADDRESS, else a local one."""
    json: bool = False
    """Print the scores as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Train, save, restore and score."""
        from mlsys_ray.cluster.run_directory import RunDirectory, default_run_path
        from mlsys_ray.cluster.session import ray_session

        folder = self.run_dir or default_run_path("fireplace-agent")
        config = {**flat_config(self.agent), "test_vms": self.test_vms}
        with ExitStack() as stack:
            with usage_errors():
                run = stack.enter_context(
                    RunDirectory.create(folder, config, experiment="fireplace-agent")
                )
            say(f"run directory: {folder}")
            with ray_session(self.address) as description, usage_errors():
                say(description)
                scores = run_agent(self.agent, folder, self.restore, self.test_vms, run.log)
            run.save_table("PAR on a held-out trace", scores)
            run.finish({f"par_{row['policy']}": row["par"] for row in scores})
        print_table(scores, title=f"{self.agent.workload.trace}, {self.test_vms} VMs")
        if self.json:
            print_json({"run_dir": folder, "policies": scores})
        return ExitCode.DONE


def run_agent(
    config: AgentConfig, folder: Path, restore: Path | None, test_vms: int, log: Any
) -> list[dict[str, Any]]:
    """Train or restore an agent; its PAR on a held-out trace beside those of two policies."""
    from mlsys_ray.cluster.agents.training import CHECKPOINT, AgentPolicy, history, train_agent
    from mlsys_ray.fireplace.policies.certainty_equivalent import CertaintyEquivalentPolicy
    from mlsys_ray.fireplace.policies.mixture import MixturePolicy
    from mlsys_ray.fireplace.workload import make_workload

    checkpoint = restore / CHECKPOINT if restore else train_agent(config, folder, log)
    statistics = history(config)
    workload = make_workload(config.workload, "test", 0, test_vms)
    policies = (
        AgentPolicy(config.algorithm, checkpoint, statistics),
        CertaintyEquivalentPolicy(statistics),
        MixturePolicy("telemetry_since", {"telemetry": 1.0, "since": 0.4}),
        MixturePolicy("least_requested", {"requested": 1.0}, largest=True),
    )
    return [{"policy": policy.name, "par": workload.par(policy)} for policy in policies]
