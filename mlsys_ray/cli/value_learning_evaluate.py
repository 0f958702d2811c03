"""The command `mlsys-ray value-learning evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlsys_ray.cli.console import print_json, print_table, say, usage_errors
from mlsys_ray.cli.value_learning_common import (
    compare_layers_into,
    default_baselines,
    network_of,
    require_halide,
)
from mlsys_ray.exit_codes import ExitCode

if TYPE_CHECKING:
    from mlsys_ray.cluster.run_directory import RunDirectory
    from mlsys_ray.value_learning.layers import Layer
    from mlsys_ray.value_learning.operators import Pipeline
    from mlsys_ray.value_learning.target import Target
    from mlsys_ray.value_learning.value_network.model import ValueNetwork


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateValue:
    """Compare schedules of held-out layers with PyTorch's and with Halide's autoschedulers."""

    layers: Path | None = None
    """JSON list of layers; those of known networks by default."""
    network: str | None = None
    """All layers of a network instead: mobilenet_v2, resnet50, inception_v3, squeezenet, ..."""
    held_out: tuple[str, ...] = ()
    """Names of layers of known networks; all by default."""
    model: Path | None = None
    """Value network; the shipped one by default."""
    store: Path | None = None
    """Samples of layers the network was not trained on, for its accuracy."""
    prefixes: int = 0
    """Partial schedules of each layer, say 10, that the network orders by what can become of them:
    three completions of each are measured, twice, which takes minutes. 0 for without it."""
    beam: int = 8
    """Width of the beam."""
    budget: float = 1.0
    """Seconds for each search."""
    rounds: int = 10
    """Turns of each contender."""
    threads: int | None = None
    """Threads of the kernels; all cores by default."""
    retrained: Path | None = None
    """Weights of Adams2019 that were trained on this machine; by default they are trained on what
    collect --adams2019 has put into the store, if anything."""
    default_beam: bool = False
    """With Adams2019 at its default beam, too, which takes minutes for some layers."""
    tvm_trials: int = 0
    """Schedules that TVM's MetaSchedule measures for each layer, minutes each; 0 for without it.
    Needs pip install 'mlsys-ray[tvm]'."""
    run_dir: Path | None = None
    """Run directory; by default a new one under runs/."""
    json: bool = False
    """Print the result as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Evaluate, and write table and summary to the run directory."""
        require_halide()
        from mlsys_ray.cluster.run_directory import RunDirectory, default_run_path
        from mlsys_ray.value_learning.evaluation import summarise as summary_of
        from mlsys_ray.value_learning.search.beam import BeamConfig
        from mlsys_ray.value_learning.target import host_target

        folder = self.run_dir or default_run_path("value-learning-evaluate")
        target = host_target(self.threads)
        with ExitStack() as stack, usage_errors():
            run = stack.enter_context(
                RunDirectory.create(folder, asdict(self), experiment="value-learning-evaluate")
            )
            network = network_of(self.model, target)
            layers = self._layers()
            exact = self._errors(network)
            retrained, of_adams = self._retrained(run, target)
            exact |= of_adams
            if self.prefixes:
                exact |= self._order_partial(run, layers, target, network)
            config = BeamConfig(width=self.beam, budget=self.budget)
            baselines = default_baselines(retrained, self.tvm_trials, self.default_beam)
            records = compare_layers_into(
                run, layers, target, network, config, baselines, self.rounds
            )
            minima, medians = summary_of(records), summary_of(records, "median_ms")
            run.finish({**minima, **{f"accuracy_{k}": v for k, v in exact.items()}})
        say(f"run directory: {folder}")
        print_table([{"ratio": k, "minima": v, "medians": medians[k]} for k, v in minima.items()])
        if self.json:
            print_json(
                {
                    "target": target.key,
                    **minima,
                    "accuracy": exact,
                    # After the summary, in which it is a number.
                    "layers": records,
                    "medians": medians,
                }
            )
        return ExitCode.DONE

    def _errors(self, network: ValueNetwork) -> dict[str, Any]:
        """Errors of predictions for stored schedules of layers that the network does not know."""
        from mlsys_ray.value_learning.accuracy import accuracy
        from mlsys_ray.value_learning.store import read_samples

        if self.store is None:
            return {}
        known = set(network.card.get("groups", ()))
        samples = [sample for sample in read_samples(self.store) if sample.group not in known]
        if not samples:
            say(f"{self.store} has no samples of layers that the network does not know")
            return {}
        return dict(accuracy(network, samples))

    def _retrained(
        self, run: RunDirectory, target: Target
    ) -> tuple[Path | None, Mapping[str, Any]]:
        """Weights of Adams2019 trained on this machine, if any, and the errors of its model."""
        from mlsys_ray.value_learning.baselines.adams2019_samples import (
            FILE,
            read_records,
            retrained_on,
        )

        if self.retrained is not None or not self.store or not (self.store / FILE).exists():
            return self.retrained, {}
        try:
            weights, errors = retrained_on(read_records(self.store / FILE), target)
        except ValueError as error:
            say(f"Adams2019 is not retrained: {error}; collect --adams2019 adds schedules")
            return None, {}
        return run.write("adams2019.weights", weights), errors

    def _order_partial(
        self,
        run: RunDirectory,
        layers: Mapping[str, Pipeline],
        target: Target,
        network: ValueNetwork,
    ) -> dict[str, Any]:
        """How well partial schedules are ordered; each of them in a table of the run."""
        from mlsys_ray.value_learning.accuracy import (
            COMPLETIONS_TIMED,
            measure_prefixes,
            order_of_prefixes,
            partial_accuracy,
        )
        from mlsys_ray.value_learning.measuring import Measurer

        found = {}
        with Measurer(target, COMPLETIONS_TIMED) as measurer:
            for name, pipeline in layers.items():
                found[name] = measure_prefixes(
                    network, pipeline, target, measurer.measure, prefixes=self.prefixes
                )
                say(f"{name}: {len(found[name])} partial schedules completed and measured")
        run.save_table(
            "partial schedules", [{"layer": n, **row} for n, rows in found.items() for row in rows]
        )
        print_table(
            [{"layer": name, **order_of_prefixes(rows)} for name, rows in found.items()],
            title="Order of partial schedules, rank correlations",
        )
        return partial_accuracy(found)

    def _layers(self) -> dict[str, Pipeline]:
        from mlsys_ray.value_learning.corpus import held_out_pipelines
        from mlsys_ray.value_learning.layers import load_layers

        if self.network is not None and self.layers is not None:
            raise ValueError("give either layers or a network, not both")
        if self.network is not None:
            layers = layers_of_network(self.network)
        elif self.layers is not None:
            layers = load_layers(self.layers)
        else:
            known = held_out_pipelines()
            if unknown := [name for name in self.held_out if name not in known]:
                raise ValueError(f"held_out has {', '.join(unknown)}; accepted: {', '.join(known)}")
            return {name: known[name] for name in self.held_out or known}
        return {
            f"{number} {layer.to_json()['op']}": layer.pipeline()
            for number, layer in enumerate(layers)
        }


def layers_of_network(name: str) -> list[Layer]:
    """The different layers of a network that is built in, in the order of their first run.

    Raises:
        ValueError: there is no network of this name.
    """
    import torch

    from mlsys_ray.ios.networks import NETWORKS, build_network
    from mlsys_ray.value_learning.extraction import layers_of

    module = build_network(name)
    found, _ = layers_of(module, [torch.zeros(1, *NETWORKS[name].input_shape)])
    return list(found)
