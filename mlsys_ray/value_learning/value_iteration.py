"""Collect, train, search with noise, measure, lower the targets, train again.

Targets are the best runtimes known among the completions of a state, so every schedule that a
search finds and that is faster than those before lowers the targets of the states on its way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from mlsys_ray.value_learning.features import featurise
from mlsys_ray.value_learning.look_ahead import looked_ahead
from mlsys_ray.value_learning.measuring import Measurement, Measurer
from mlsys_ray.value_learning.operators import Pipeline
from mlsys_ray.value_learning.operators.packing import packings
from mlsys_ray.value_learning.search.base import complete_randomly
from mlsys_ray.value_learning.search.beam import BeamConfig, beam_search
from mlsys_ray.value_learning.space import Schedule, initial, legal_actions, schedule_of
from mlsys_ray.value_learning.store import Sample, Store, best_known, sample_key
from mlsys_ray.value_learning.target import Target
from mlsys_ray.value_learning.value_network.model import ValueNetwork, value_of
from mlsys_ray.value_learning.value_network.training import NetworkConfig, train

SWEEP = 3
"""Share of the epochs, one in so many, in which a network learns lowered targets."""
TRIES = 20
"""Random walks a wanted schedule, before a pipeline counts as exhausted."""


@dataclass(frozen=True, eq=False)
class Job:
    """A schedule to measure, and what proposed it."""

    pipeline: Pipeline
    schedule: Schedule
    source: str


MeasureAll = Callable[[Iterable[Job]], Iterator[tuple[Job, Measurement]]]
"""Measures jobs, one after another or on many machines; in any order."""


def measure_here(measurer: Measurer) -> MeasureAll:
    """Measure one after another with a measurer of this process."""

    def measure(jobs: Iterable[Job]) -> Iterator[tuple[Job, Measurement]]:
        for job in jobs:
            yield job, measurer.measure(job.pipeline, job.schedule)

    return measure


def random_jobs(
    pipelines: Sequence[Pipeline], target: Target, count: int, seed: int
) -> Iterator[Job]:
    """Different random schedules, `count` of each pipeline at most; pipelines take turns.

    Each is of one of the pipeline's packings, see `operators.packing`.
    """
    packed = [packings(pipeline, target.lanes) for pipeline in pipelines]
    rngs = [np.random.default_rng((seed, int(pipeline.key, 16))) for pipeline in pipelines]
    seen: set[tuple[str, Schedule]] = set()
    for _ in range(count):
        for options, rng in zip(packed, rngs, strict=True):
            for _ in range(TRIES):
                pipeline = options[int(rng.integers(len(options)))]
                state = complete_randomly(initial(pipeline, target), legal_actions, rng)
                if state is None:
                    continue
                schedule = schedule_of(state)
                if (pipeline.key, schedule) not in seen:
                    seen.add((pipeline.key, schedule))
                    yield Job(pipeline, schedule, "random")
                    break


def search_jobs(
    pipelines: Sequence[Pipeline],
    target: Target,
    network: ValueNetwork,
    *,
    count: int,
    noise: float,
    seed: int,
    width: int = 8,
) -> Iterator[Job]:
    """The best `count` schedules of each pipeline by beam search with noise on the values."""
    value = value_of(network, featurise)
    for number, pipeline in enumerate(pipelines):
        config = BeamConfig(
            width=width, budget=20.0, keep=count, noise=noise, seed=seed * 100_003 + number
        )
        starts = [initial(packing, target) for packing in packings(pipeline, target.lanes)]
        found = beam_search(starts, legal_actions, value, config)
        for candidate in found.candidates:
            yield Job(candidate.state.pipeline, schedule_of(candidate.state), "search")


def collect(
    jobs: Iterable[Job],
    store: Store,
    measure: MeasureAll,
    on_sample: Callable[[Sample], None] = lambda sample: None,
) -> int:
    """Measure those jobs that are not in the store yet; gives how many that were.

    What is measured is stored at once, so a collection that is cut off goes on where it was.
    """
    missing = (job for job in jobs if sample_key(job.pipeline, job.schedule) not in store)
    count = 0
    for job, measurement in measure(missing):
        sample = Sample.of(job.pipeline, job.schedule, measurement, job.source)
        store.add(sample)
        on_sample(sample)
        count += 1
    return count


def train_on(
    samples: Iterable[Sample],
    config: NetworkConfig,
    *,
    sweeps: int = 0,
    start: ValueNetwork | None = None,
    on_epoch: Callable[[int, int, float], None] = lambda member, epoch, error: None,
) -> ValueNetwork:
    """Train on all states on the way to the samples; the card says what they were.

    Args:
        samples: measured schedules.
        config: of the training.
        sweeps: times that targets of partial schedules are lowered to what the network expects
            after one more action, see `look_ahead`, and it goes on learning.
        start: network to go on from.
        on_epoch: see `train`.

    Raises:
        ValueError: no sample could be measured.
    """
    samples = list(samples)
    known = best_known(samples)
    if not known.states:
        raise ValueError(f"none of {len(samples)} samples could be measured")
    card: dict[str, Any] = {
        "targets": sorted({sample.target for sample in samples}),
        "halide": sorted({sample.halide for sample in samples}),
        "samples": len(samples),
        "failed": sum(sample.status != "ok" for sample in samples),
        "groups": sorted(set(known.groups)),
        "training": asdict(config),
        "sweeps": sweeps,
    }
    features = featurise(known.states)
    learn = partial(train, features, groups=known.groups, card=card, on_epoch=on_epoch)
    network = learn(known.log_ms, config=config, start=start)
    shorter = replace(config, epochs=max(1, config.epochs // SWEEP))
    for _ in range(sweeps):
        targets = np.fmin(known.log_ms, looked_ahead(known.states, network))
        network = learn(targets, config=shorter, exact=np.ones(len(targets), bool), start=network)
    return network


@dataclass(frozen=True, kw_only=True, slots=True)
class IterationConfig:
    """How value iteration goes."""

    random: int = 32
    """Random schedules of each pipeline in the beginning."""
    rounds: int = 3
    """Times that the network searches, its finds are measured and it is trained anew."""
    found: int = 8
    """Schedules of each pipeline that a search gives."""
    noise: float = 0.2
    """Standard deviation of what is added to log-runtimes in the search."""
    sweeps: int = 2
    """Of each training, see `train_on`."""
    seed: int = 0
    """Of random schedules and of noise."""

    def __post_init__(self) -> None:
        """Check values.

        Raises:
            ValueError: a value makes no sense.
        """
        for name in ("random", "rounds", "found", "noise", "sweeps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")


def iterate(
    pipelines: Sequence[Pipeline],
    target: Target,
    store: Store,
    measure: MeasureAll,
    config: IterationConfig,
    network_config: NetworkConfig,
    *,
    start: ValueNetwork | None = None,
    on_sample: Callable[[Sample], None] = lambda sample: None,
    on_network: Callable[[int, ValueNetwork], None] = lambda number, network: None,
) -> ValueNetwork:
    """Value iteration; gives the last network.

    Args:
        pipelines: to learn from.
        target: this machine.
        store: where samples go, and come from if there are some.
        measure: runs schedules on the target.
        config: of the iteration.
        network_config: of each training.
        start: network to go on from, as `adapt` does; all trainings begin with its weights.
        on_sample: called with every new sample.
        on_network: called with the round, 0 the first, and the network trained.
    """
    collect(random_jobs(pipelines, target, config.random, config.seed), store, measure, on_sample)
    network = train_on(store.samples, network_config, sweeps=config.sweeps, start=start)
    on_network(0, network)
    for number in range(1, config.rounds + 1):
        jobs = search_jobs(
            pipelines,
            target,
            network,
            count=config.found,
            noise=config.noise,
            seed=config.seed + number,
        )
        collect(jobs, store, measure, on_sample)
        network = train_on(store.samples, network_config, sweeps=config.sweeps, start=start)
        on_network(number, network)
    return network
