"""The command `mlsys-ray demo`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlsys_ray.byzshield.config import TrainConfig
from mlsys_ray.cli.console import print_json, print_table, say, usage_errors
from mlsys_ray.cli.fireplace import evaluate_into, print_policies
from mlsys_ray.cli.ios_compare import compare_into, print_tools
from mlsys_ray.cli.value_learning_common import (
    compare_layers_into,
    default_baselines,
    network_of,
    print_layers,
)
from mlsys_ray.exit_codes import ExitCode
from mlsys_ray.fireplace.config import EvaluationConfig, WorkloadConfig, flat_config

if TYPE_CHECKING:
    from mlsys_ray.ios.comparison import Comparison

METHODS = {
    "byzshield": ("ByzShield: MOLS, vote, median", "mols"),
    "detox": ("DETOX: FRC, vote, median", "frc"),
    "median": ("plain median", "baseline"),
}
NETWORKS: dict[str, tuple[str | None, str | None, tuple[int, ...] | None]] = {
    "squeezenet": ("squeezenet", None, None),
    "inception-block": (None, "mlsys_ray.ios.networks.inception_v3:block_e", (2048, 8, 8)),
}
"""Of what is scheduled: arguments of `make_model`."""
LAYERS = ("resnet50 3x3 64-64 56", "mobilenetv2 dw 144 56", "bert 384x768x768")
"""Held-out layers that Halide schedules are found for, the first of each kind."""
ATTACKS = {"alie": "alie", "no-attack": None}
NUM_BYZANTINE = 3
MAX_BYZANTINE = 13


def demo_config(scheme: str, attack: str | None, seed: int) -> TrainConfig:
    """A run of the demo: digits, K = 15, q = 3, and ALIE as the paper's authors have it, z = 1.

    The batch is small, so that gradients are noisy: ALIE hides in their spread, and with large
    batches digits are learned under any attack.
    """
    return TrainConfig(
        scheme=scheme,
        byzantine=NUM_BYZANTINE if attack else 0,
        attack=attack,
        attack_strength=1.0 if attack else None,
        batch_size=75,
        learning_rate=0.03,
        iterations=100,
        seed=seed,
    )


def placement_configs(seed: int) -> list[EvaluationConfig]:
    """The generator's workload, and the one of recorded traces where they are found."""
    from mlsys_ray.data import DataNotFoundError
    from mlsys_ray.fireplace.traces.composite import find_recordings

    names = ["microvm"]
    try:
        find_recordings()
        names.append("openb+planetlab")
    except DataNotFoundError:
        pass
    return [
        EvaluationConfig(
            workload=WorkloadConfig(trace=name, num_vms=30_000),
            policies="random,least_requested,power_of_two,telemetry_since,mixture,"
            "certainty_equivalent,fireplace",
            seed=seed,
            num_seeds=2,
        )
        for name in names
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Demo:
    """All four systems on a local Ray cluster, or the one at --address, in minutes.

    ByzShield, DETOX and the plain median learn real images with 15 workers, 3 of them Byzantine,
    and without an attack; the paper's distortion tables are computed; placement policies place
    micro-VMs; a network and a block are scheduled and timed beside PyTorch; Halide
    schedules of three layers are found and timed beside others; a report shows all.
    """

    run_dir: Path | None = None
    """Folder of the demo's run directories; by default a new one under runs/."""
    address: str | None = None
    """Ray cluster to attach to, host:port or auto; by default RAY_ADDRESS, else a local one."""
    seed: int = 0
    """Seed of all runs."""
    json: bool = False
    """Print the results as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Run all of it; failed if a run failed or a table differs from the paper."""
        from mlsys_ray.cluster.run_directory import default_run_path
        from mlsys_ray.cluster.session import ray_session
        from mlsys_ray.report.html import write_report

        folder = self.run_dir or default_run_path("demo")
        with ray_session(self.address) as description:
            say(description)
            tables = self._distortion(folder / "distortion")
            summaries = {
                (method, attack): self._train(folder / f"{method}-{attack}", method, attack)
                for attack in ATTACKS
                for method in METHODS
            }
            placements = {
                config.workload.trace: self._place(folder / config.workload.trace, config)
                for config in placement_configs(self.seed)
            }
        latencies = {name: self._schedule(folder / f"ios-{name}", name) for name in NETWORKS}
        layers = self._halide(folder / "value-learning")
        runs = [folder / f"{method}-{attack}" for method, attack in summaries]
        report = write_report(
            [
                *runs,
                folder / "distortion",
                *(folder / name for name in placements),
                *(folder / f"ios-{name}" for name in latencies),
                folder / "value-learning",
            ],
            folder / "report.html",
        )
        records = [_record(method, summaries) for method in METHODS]
        different = [row for row in tables if row["difference"]]
        print_table(
            records,
            title="Test accuracy (mean of the last 5 evaluations), 15 workers,"
            f" {NUM_BYZANTINE} of them Byzantine",
        )
        say(f"distortion tables: {len(tables)} rows, {len(different)} differ from the paper")
        for config in placement_configs(self.seed):
            print_policies(config, placements[config.workload.trace])
        for name, found in latencies.items():
            print_tools(found, f"{name}, batch size 1")
        print_layers(layers)
        say(f"report: {report.path}")
        if self.json:
            print_json(
                {
                    "accuracy": records,
                    "distortion": tables,
                    "placement": placements,
                    "latency_ms": {
                        name: {tool: timing.median_ms for tool, timing in found.timings.items()}
                        for name, found in latencies.items()
                    },
                    "layers": layers,
                    "report": report.path,
                }
            )
        failed = any(summary["status"] != "done" for summary in summaries.values())
        return ExitCode.FAILED if failed or different or report.problems else ExitCode.DONE

    def _train(self, path: Path, method: str, attack: str) -> dict[str, Any]:
        from mlsys_ray.cli.progress import TrainingProgress
        from mlsys_ray.cluster.place import Place
        from mlsys_ray.cluster.run_reader import load_run
        from mlsys_ray.cluster.training import Training

        config = demo_config(METHODS[method][1], ATTACKS[attack], self.seed)
        with ExitStack() as stack:
            with usage_errors():
                training = stack.enter_context(Training.open(config, Place(run_dir=path)))
            progress = TrainingProgress(config.iterations, f"{method} {attack}")
            training.train(stack.enter_context(progress))
        return load_run(path).summary

    def _place(self, path: Path, config: EvaluationConfig) -> dict[str, Any]:
        from mlsys_ray.cluster.run_directory import RunDirectory

        workload = config.workload
        say(f"placing {workload.num_vms} VMs of {workload.trace} on {workload.num_pms} PMs")
        with ExitStack() as stack:
            with usage_errors():
                run = stack.enter_context(
                    RunDirectory.create(path, flat_config(config), experiment="fireplace-evaluate")
                )
            return evaluate_into(run, config)

    def _schedule(self, path: Path, name: str) -> Comparison:
        from mlsys_ray.cluster.environment import usable_cores
        from mlsys_ray.cluster.run_directory import RunDirectory
        from mlsys_ray.ios.comparison import our_variants
        from mlsys_ray.ios.optimization import default_cache
        from mlsys_ray.ios.peers import PeerTask
        from mlsys_ray.ios.plan import Settings
        from mlsys_ray.ios.sources import make_model

        say(f"scheduling {name}, by measurement")
        with ExitStack() as stack:
            with usage_errors():
                run = stack.enter_context(
                    RunDirectory.create(path, {"network": name}, experiment="ios-compare")
                )
            module, example = make_model(*NETWORKS[name])
            task = PeerTask(
                model=module, example_inputs=[example], num_threads=usable_cores(), tell=say
            )
            settings = Settings(cache=default_cache(), budget_seconds=10.0)
            variants = ("sequential", "greedy", "ios_both", "ios_mixed")
            own = our_variants(task, variants, settings)
            return compare_into(run, task, own, ("eager",), rounds=9)

    def _halide(self, path: Path) -> list[dict[str, Any]]:
        from mlsys_ray.cluster.run_directory import RunDirectory
        from mlsys_ray.value_learning.corpus import held_out_pipelines
        from mlsys_ray.value_learning.evaluation import summarise
        from mlsys_ray.value_learning.search.beam import BeamConfig
        from mlsys_ray.value_learning.target import host_target

        say(f"finding Halide schedules of {len(LAYERS)} layers, and timing them beside others")
        with ExitStack() as stack:
            with usage_errors():
                config = {"layers": list(LAYERS)}
                run = stack.enter_context(
                    RunDirectory.create(path, config, experiment="value-learning-evaluate")
                )
            pipelines = {name: held_out_pipelines()[name] for name in LAYERS}
            target = host_target()
            records = compare_layers_into(
                run,
                pipelines,
                target,
                network_of(None, target),
                BeamConfig(),
                default_baselines(),
                rounds=5,
            )
            run.finish(summarise(records))
        return records

    def _distortion(self, path: Path) -> list[dict[str, Any]]:
        from mlsys_ray.byzshield.paper.distortion import reproduce_distortion
        from mlsys_ray.cluster.run_directory import RunDirectory

        config = {"max_byzantine": MAX_BYZANTINE}
        say(f"computing the paper's distortion tables up to q = {MAX_BYZANTINE}")
        with ExitStack() as stack:
            with usage_errors():
                run = stack.enter_context(
                    RunDirectory.create(path, config, experiment="byzshield-distortion")
                )
            rows = list(reproduce_distortion(MAX_BYZANTINE))
            run.save_table("distortion, paper and here", rows)
            run.finish(
                {
                    "rows": len(rows),
                    "differences": sum(row["difference"] != 0 for row in rows),
                    "seconds": sum(row["seconds"] for row in rows),
                }
            )
        return rows


def _record(method: str, summaries: dict[tuple[str, str], dict[str, Any]]) -> dict[str, Any]:
    attacked, clean = summaries[method, "alie"], summaries[method, "no-attack"]
    return {
        "method": METHODS[method][0],
        "distortion": attacked["distortion"],
        "under ALIE": attacked["late_accuracy"],
        "no attack": clean["late_accuracy"],
        "s/iteration": attacked["seconds_per_iteration"],
    }
