"""Searches compared: a trial is one method on one layer with one budget."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

from mlsys_ray.cluster import metrics
from mlsys_ray.cluster.run_directory import RunDirectory
from mlsys_ray.cluster.storage import Home
from mlsys_ray.cluster.trials import Resources, begin_anew, recorded, run_missing, trial_path
from mlsys_ray.value_learning.corpus import held_out_pipelines
from mlsys_ray.value_learning.features import featurise
from mlsys_ray.value_learning.measuring import LEGAL, Measurer
from mlsys_ray.value_learning.operators.packing import packings
from mlsys_ray.value_learning.scheduling import shipped_model
from mlsys_ray.value_learning.search.beam import BeamConfig, beam_search
from mlsys_ray.value_learning.search.evolutionary import evolutionary_search
from mlsys_ray.value_learning.search.random import random_search
from mlsys_ray.value_learning.space import State, initial, legal_actions, schedule_of
from mlsys_ray.value_learning.target import host_target
from mlsys_ray.value_learning.value_network.model import load_network, value_of

Method = Literal["greedy", "beam", "random", "evolutionary"]
WITHOUT_RUNS = ("greedy", "beam")
"""Methods that measure nothing while they search."""
FINALLY = 3
"""Measurements of what was found, of which the shortest counts: one alone can be twice as long."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchTrial:
    """One search.

    Attributes:
        method: greedy and beam use the value network, random and evolutionary measure.
        layer: of `held_out_pipelines`.
        trials: measurements of the methods that measure; 0 for the others.
        threads: of the kernel.
        seed: of the methods that draw.
        model: file of the value network, the same on every node; empty for the shipped one.
    """

    method: Method
    layer: str
    trials: int
    threads: int
    seed: int
    model: str


def expand(
    methods: Sequence[Method],
    layers: Sequence[str],
    trials: Sequence[int],
    *,
    threads: int,
    seed: int,
    model: Path | None,
) -> list[SearchTrial]:
    """All combinations; methods that do not measure once a layer.

    Raises:
        ValueError: a layer is unknown.
    """
    known = held_out_pipelines()
    if unknown := [layer for layer in layers if layer not in known]:
        raise ValueError(f"layer {unknown[0]!r} is none of {', '.join(known)}")
    points = {
        (method, layer, 0 if method in WITHOUT_RUNS else count)
        for method, layer, count in product(methods, layers or known, trials)
    }
    return [
        SearchTrial(
            method=method,
            layer=layer,
            trials=count,
            threads=threads,
            seed=seed,
            model=str(model.absolute()) if model else "",
        )
        for method, layer, count in sorted(points)
    ]


def search_once(trial: SearchTrial) -> dict[str, Any]:
    """Search, and measure what was found.

    Returns:
        `ms` of the schedule, the shortest of three measurements, None if it failed;
        `search_seconds`, measurements of the search included; `evaluated`, states scored or
        schedules measured; `history`, of the best so far.
    """
    target = host_target(trial.threads)
    start = [initial(p, target) for p in packings(held_out_pipelines()[trial.layer], target.lanes)]
    best_ms = math.inf
    with Measurer(target, LEGAL) as measurer, metrics.Publisher() as publisher:

        def measure(state: State) -> float | None:
            nonlocal best_ms
            measurement = measurer.measure(state.pipeline, schedule_of(state))
            publisher.add(metrics.VALUE_LEARNING_MEASURED, 1, status=measurement.status)
            if measurement.status != "ok":
                return None
            best_ms = min(best_ms, measurement.min_ms)
            names = {"layer": trial.layer, "method": trial.method}
            publisher.set(metrics.VALUE_LEARNING_BEST_LATENCY, best_ms / 1e3, **names)
            return measurement.min_ms

        # That takes seconds, which are not the search's.
        measurer.start()
        if trial.method in WITHOUT_RUNS:
            value = value_of(load_network(_model(trial)), featurise)
            config = BeamConfig(width=1 if trial.method == "greedy" else 8, budget=10.0)
            found = beam_search(start, legal_actions, value, config)
        else:
            search = random_search if trial.method == "random" else evolutionary_search
            found = search(start, legal_actions, measure, trials=trial.trials, seed=trial.seed)
        again = [ms for _ in range(FINALLY) if (ms := measure(found.best.state)) is not None]
    return {
        "ms": min(again, default=None),
        "search_seconds": found.seconds,
        "evaluated": found.evaluated,
        "history": [list(point) for point in found.history],
    }


def run_trial(trial: SearchTrial, path: Path) -> dict[str, Any]:
    """One trial of a study, in a worker process; one that was cut off begins anew."""
    begin_anew(path)
    config = asdict(trial)
    with RunDirectory.create(path, config, experiment="value-learning-search") as run:
        result = search_once(trial)
        for seconds, best in result.pop("history"):
            run.log({"seconds": seconds, "best_ms": best})
        run.finish(result)
    return {"ms": result["ms"]}


def search_path(folder: Path, trial: SearchTrial) -> Path:
    """The run directory of a trial, which follows from the network's content, not its path."""
    content = hashlib.sha256(_model(trial).read_bytes()).hexdigest()
    return trial_path(folder, f"{trial.method}-{trial.trials}", replace(trial, model=content))


def _model(trial: SearchTrial) -> Path:
    return Path(trial.model) if trial.model else shipped_model(host_target(trial.threads))


def run_study(
    trials: Sequence[SearchTrial], folder: Path, *, home: Home | None = None
) -> list[dict[str, Any]]:
    """Run the trials that are not recorded yet, on the connected cluster.

    Args:
        trials: the searches.
        folder: of their run directories.
        home: see `run_missing`.

    Returns:
        A row for each trial; None for the numbers of one that failed.
    """
    paths = {search_path(folder, trial): trial for trial in trials}
    resources = Resources(cpus=max(trial.threads for trial in trials), measures=True)
    run_missing(paths, run_trial, home=home, resources=resources)
    rows = []
    for path, trial in paths.items():
        run = recorded(path)
        summary = run.summary if run else {}
        rows.append(
            {
                "layer": trial.layer,
                "method": trial.method,
                "trials": trial.trials,
                **{name: summary.get(name) for name in ("ms", "search_seconds", "evaluated")},
            }
        )
    return rows


def same_runtime(trials: Sequence[SearchTrial], folder: Path) -> list[dict[str, Any]]:
    """How long measuring takes to find schedules as fast as those of the value network.

    Evolution's runtimes are the best of many schedules measured once, the beam's is one schedule
    measured three times.

    Args:
        trials: searches that have run, on any layers.
        folder: of their run directories.

    Returns:
        A row for each layer that has both: `layer`; `beam_ms` and `beam_seconds` of the beam
        search; `evolution_ms`, the best that the evolutionary search of most measurements has
        measured; `evolution_seconds` until it was as fast as the beam's, or in all where it never
        was, and `reached` says so; `ratio` of the seconds, a lower bound where not reached.
    """
    rows = []
    found = {trial: run for trial in trials if (run := recorded(search_path(folder, trial)))}
    # Of a layer's evolutionary searches the longest stays, as it comes last.
    by_length = sorted(found, key=lambda trial: trial.trials)
    beams = {trial.layer: found[trial].summary for trial in found if trial.method == "beam"}
    evolutions = {t.layer: found[t] for t in by_length if t.method == "evolutionary"}
    for layer, beam in beams.items():
        if beam["ms"] is None or layer not in evolutions:
            continue
        evolution = evolutions[layer]
        history = evolution.metrics.to_dict("records")
        as_fast = [step["seconds"] for step in history if step["best_ms"] <= beam["ms"]]
        seconds = min(as_fast, default=evolution.summary["search_seconds"])
        rows.append(
            {
                "layer": layer,
                "beam_ms": beam["ms"],
                "beam_seconds": beam["search_seconds"],
                "evolution_ms": min((step["best_ms"] for step in history), default=None),
                "evolution_seconds": seconds,
                "reached": bool(as_fast),
                "ratio": seconds / beam["search_seconds"],
            }
        )
    return rows
