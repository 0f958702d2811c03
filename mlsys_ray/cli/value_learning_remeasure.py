"""The command `mlsys-ray value-learning remeasure`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from mlsys_ray.cli.console import print_json, print_table, say, usage_errors
from mlsys_ray.cli.value_learning_common import require_halide
from mlsys_ray.exit_codes import ExitCode

SAY_EVERY = 20
"""Schedules measured between two lines that say how many are done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RemeasureSchedules:
    """Measure stored schedules again: how far two measurements of one schedule lie apart.

    This bounds how well any prediction can do.
    """

    store: Path
    """Folder of the samples."""
    keep: bool = False
    """Keep the shorter runtime of the two in the store."""
    model: Path | None = None
    """Value network: not drawn schedules then, but those that took longest by what it expects."""
    number: int = 80
    """Schedules drawn from those that were measured on this machine."""
    threads: int | None = None
    """Threads of a kernel, as when the samples were collected; all cores by default."""
    seed: int = 0
    """Of the draw."""
    run_dir: Path | None = None
    """Run directory; by default a new one under runs/."""
    json: bool = False
    """Print the summary as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Measure, and write table and summary to the run directory."""
        require_halide()
        from mlsys_ray.cluster.run_directory import RunDirectory, default_run_path
        from mlsys_ray.value_learning.accuracy import remeasure, spread
        from mlsys_ray.value_learning.measuring import LEGAL, Measurer
        from mlsys_ray.value_learning.store import Store, read_samples
        from mlsys_ray.value_learning.target import host_target
        from mlsys_ray.value_learning.value_network.model import load_network

        folder = self.run_dir or default_run_path("value-learning-remeasure")
        target = host_target(self.threads)
        with ExitStack() as stack, usage_errors():
            run = stack.enter_context(
                RunDirectory.create(folder, asdict(self), experiment="value-learning-remeasure")
            )
            network = load_network(self.model) if self.model else None
            store = stack.enter_context(Store(self.store)) if self.keep else None
            samples = read_samples(self.store)
            own = [sample for sample in samples if sample.target == target.key]
            if not own:
                there = "; ".join(sorted({sample.target for sample in samples})) or "none"
                raise ValueError(f"{self.store} has no samples of {target.key}, only of: {there}")
            measurer = stack.enter_context(Measurer(target, LEGAL))
            rows = []
            for row in remeasure(
                own,
                measurer.measure,
                self.number,
                self.seed,
                network,
                store.add if store is not None else lambda sample: None,
            ):
                rows.append(row)
                if len(rows) % SAY_EVERY == 0:
                    say(f"{len(rows)} schedules measured again")
            run.save_table("measured twice", rows)
            summary = spread(rows)
            run.finish(summary)
        say(f"run directory: {folder}")
        print_table([summary], title="Two measurements of one schedule")
        if self.json:
            print_json({"target": target.key, **summary})
        return ExitCode.DONE
