from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_store import PIPELINE, TARGET

from mlsys_ray.value_learning.corpus import held_out_pipelines, training_pipelines
from mlsys_ray.value_learning.measuring import Measurement
from mlsys_ray.value_learning.scheduling import search_schedule, shipped_network
from mlsys_ray.value_learning.search.beam import BeamConfig
from mlsys_ray.value_learning.space import schedule_from_json
from mlsys_ray.value_learning.store import Store
from mlsys_ray.value_learning.value_iteration import (
    IterationConfig,
    Job,
    collect,
    iterate,
    random_jobs,
    train_on,
)
from mlsys_ray.value_learning.value_network.training import NetworkConfig


def runtime(job: Job) -> float:
    """A stand-in for the machine, which likes wide vectors and large tiles."""
    times = []
    for stage, action in zip(job.pipeline.stages, job.schedule.actions, strict=True):
        lanes = max(1, getattr(action, "vector", 1) or 1)
        tile = np.prod(getattr(action, "tile", ()) or (1,))
        times.append(stage.points * stage.terms / lanes / (1 + np.log2(tile + 1)))
    return float(sum(times)) * 1e-3


def pretend(jobs: Iterable[Job]) -> Iterator[tuple[Job, Measurement]]:
    for job in jobs:
        ms = runtime(job)
        yield job, Measurement(status="ok", min_ms=ms, median_ms=ms, repetitions=1, error=0.0)


def test_a_collection_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    jobs = list(random_jobs([PIPELINE], TARGET, 12, seed=1))
    assert len({job.schedule for job in jobs}) == 12

    def cut_off(todo: Iterable[Job]) -> Iterator[tuple[Job, Measurement]]:
        for number, pair in enumerate(pretend(todo)):
            if number == 5:
                raise KeyboardInterrupt
            yield pair

    with Store(tmp_path) as store, pytest.raises(KeyboardInterrupt):
        collect(jobs, store, cut_off)
    with Store(tmp_path) as store:
        assert len(store) == 5
        assert collect(jobs, store, pretend) == 7
        assert collect(jobs, store, pretend) == 0


def test_value_iteration_finds_better_than_it_began_with(tmp_path: Path) -> None:
    networks = []
    with Store(tmp_path) as store:
        iterate(
            [PIPELINE],
            TARGET,
            store,
            pretend,
            IterationConfig(random=24, rounds=1, found=8, noise=0.1),
            NetworkConfig(members=1, epochs=25, batch_size=16),
            on_network=lambda number, network: networks.append((number, network)),
        )
        times: dict[str, list[float]] = {"random": [], "search": []}
        for sample in store.samples:
            times[sample.source].append(sample.min_ms)
        again = list(store.samples)
    assert [number for number, _ in networks] == [0, 1]
    assert np.median(times["search"]) < np.median(times["random"])
    card = networks[-1][1].card
    assert card["samples"] == len(again)
    assert card["groups"] == [PIPELINE.key]
    assert card["targets"] == [TARGET.key]
    assert (card["training"]["epochs"], card["sweeps"]) == (25, 2)

    found = search_schedule(PIPELINE, TARGET, networks[-1][1], BeamConfig(budget=60))
    assert not found.foreign
    best = runtime(Job(PIPELINE, found.schedules[0], "search"))
    assert best < np.quantile(times["random"], 0.25)
    assert schedule_from_json(found.schedules[0].to_json()) == found.schedules[0]


@pytest.mark.parametrize(("lanes", "known"), [(4, 8), (8, 8), (16, 16), (32, 16)])
def test_a_target_takes_the_widest_network_that_is_not_too_wide(lanes: int, known: int) -> None:
    target = replace(TARGET, lanes=lanes)
    targets = shipped_network(target).card["targets"]
    assert any(f" lanes={known} " in key for key in targets)


def test_nothing_measured_is_told() -> None:
    with pytest.raises(ValueError, match="none of 0 samples"):
        train_on([], NetworkConfig())


def test_training_layers_are_different_and_none_is_held_out() -> None:
    keys = [pipeline.key for pipeline in training_pipelines(60)]
    assert len(set(keys)) == 60
    held_out = {pipeline.key for pipeline in held_out_pipelines().values()}
    assert len(held_out) >= 20
    assert not held_out & set(keys)
    assert keys == [pipeline.key for pipeline in training_pipelines(60)]
