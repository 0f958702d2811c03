"""What the commands of `mlsys-ray value-learning` have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlsys_ray.cli.console import print_table, say
from mlsys_ray.exit_codes import EnvironmentMissingError

if TYPE_CHECKING:
    from mlsys_ray.cluster.run_directory import RunDirectory
    from mlsys_ray.value_learning.baselines.base import Baseline
    from mlsys_ray.value_learning.evaluation import LayerResult
    from mlsys_ray.value_learning.operators import Pipeline
    from mlsys_ray.value_learning.search.beam import BeamConfig
    from mlsys_ray.value_learning.target import Target
    from mlsys_ray.value_learning.value_network.model import ValueNetwork


def require_halide() -> None:
    """Tell what to install where Halide is missing.

    Raises:
        EnvironmentMissingError: it is.
    """
    from importlib.util import find_spec

    if find_spec("halide") is None:
        raise EnvironmentMissingError("value learning needs Halide: pip install halide")


def network_of(path: Path | None, target: Target) -> ValueNetwork:
    """The network in a file, or the one shipped for a target."""
    from mlsys_ray.value_learning.scheduling import shipped_network
    from mlsys_ray.value_learning.value_network.model import load_network

    return shipped_network(target) if path is None else load_network(path)


def default_baselines(
    retrained: Path | None = None, tvm_trials: int = 0, default_beam: bool = False
) -> list[Baseline]:
    """PyTorch, Halide's autoschedulers, and TVM if it may measure schedules."""
    from mlsys_ray.value_learning.baselines.autoscheduler import autoschedulers
    from mlsys_ray.value_learning.baselines.torch import Torch
    from mlsys_ray.value_learning.baselines.tvm import MetaSchedule

    tvm = [MetaSchedule(trials=tvm_trials)] if tvm_trials else []
    return [Torch(), *autoschedulers(retrained, default_beam), *tvm]


def measuring(target: Any, address: str | None) -> Any:
    """A context manager that gives a `MeasureAll`: here, or on a cluster."""
    from contextlib import contextmanager

    from mlsys_ray.value_learning.measuring import LEGAL, Measurer
    from mlsys_ray.value_learning.value_iteration import measure_here

    @contextmanager
    def here() -> Any:
        with Measurer(target, LEGAL) as measurer:
            yield measure_here(measurer)

    if address is None:
        return here()
    from mlsys_ray.cluster.value_learning.measuring import measuring_on_ray

    return measuring_on_ray(target, address, LEGAL)


def compare_layers_into(
    run: RunDirectory,
    layers: Mapping[str, Pipeline],
    target: Target,
    network: ValueNetwork,
    config: BeamConfig,
    baselines: Sequence[Baseline],
    rounds: int,
) -> list[dict[str, Any]]:
    """Schedules of layers beside others, with rows, table and plot in the run directory."""
    from mlsys_ray.report.value_learning_plots import times_of_torch
    from mlsys_ray.value_learning.evaluation import as_record, compare_layers

    def progress(result: LayerResult) -> None:
        say(f"{result.layer}: searched for {result.search_seconds:.2f} s")
        run.log(as_record(result))

    records = compare_layers(layers, target, network, config, baselines, progress, rounds=rounds)
    run.save_table("layers", records)
    run.save_plot("runtimes over PyTorch's", times_of_torch(records))
    return records


def print_layers(records: Sequence[Mapping[str, Any]]) -> None:
    """Print the shortest runtimes of each layer."""
    rows = [
        {
            name.removesuffix("_ms"): value
            for name, value in record.items()
            if not name.endswith(("_median_ms", "_search_seconds"))
        }
        for record in records
    ]
    print_table(rows, title="Halide schedules, shortest runtimes [ms]")
