"""Measuring of schedules on a cluster: one actor a machine, as kernels use all of its cores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from mlsys_ray.cluster import metrics
from mlsys_ray.cluster.session import ray_session
from mlsys_ray.value_learning.measuring import Limits, Measurement, Measurer
from mlsys_ray.value_learning.operators import Pipeline
from mlsys_ray.value_learning.space import Schedule
from mlsys_ray.value_learning.target import Target, host_target
from mlsys_ray.value_learning.value_iteration import Job, MeasureAll

AHEAD = 2
"""Jobs an actor has been given and not answered, so that it need not wait for the next one."""
START_SECONDS = 120.0
"""For an actor to say what machine it is on."""


class MeasuringActor:
    """Measures on its machine; started by `measuring_on_ray`."""

    def __init__(self, cores: int, limits: Limits | None = None) -> None:
        self._measurer = Measurer(host_target(cores), limits)

    def __repr__(self) -> str:
        # How the dashboard and the logs call it.
        return f"MeasuringActor({self._measurer.target.key})"

    def target_key(self) -> str:
        """Key of this machine."""
        return self._measurer.target.key

    def measure(self, pipeline: Pipeline, schedule: Schedule) -> Measurement:
        """Measure one schedule."""
        return self._measurer.measure(pipeline, schedule)


@contextmanager
def measuring_on_ray(
    target: Target, address: str | None = None, limits: Limits | None = None
) -> Iterator[MeasureAll]:
    """Measure on all machines of a cluster that are of the target's kind.

    The jobs of a machine that is lost are measured on another one.

    Args:
        target: only machines of the same key take part.
        address: see `ray_session`.
        limits: of each measurement.

    Raises:
        ValueError: no machine of the cluster is of the target's kind.
        RuntimeError: while measuring: no machine is left. Jobs not measured are not recorded.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    with ray_session(address):
        remote = ray.remote(MeasuringActor)
        actors: list[Any] = [
            remote.options(
                num_cpus=1,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
            ).remote(target.cores, limits)
            for node in ray.nodes()
            if node["Alive"] and node["Resources"].get("CPU", 0) >= 1
        ]
        try:
            keys = ray.get([a.target_key.remote() for a in actors], timeout=START_SECONDS)
            fitting = [a for a, key in zip(actors, keys, strict=True) if key == target.key]
            if not fitting:
                raise ValueError(f"no machine is {target.key}; there are {', '.join(set(keys))}")
            with metrics.Publisher() as publisher:
                yield lambda jobs: _measure(jobs, fitting, publisher)
        finally:
            for actor in actors:
                ray.kill(actor)


def _measure(
    jobs: Iterable[Job], actors: list[Any], publisher: metrics.Publisher
) -> Iterator[tuple[Job, Measurement]]:
    import ray

    queue = iter(jobs)
    again: list[Job] = []
    alive = list(actors)
    pending: dict[ray.ObjectRef, tuple[Job, Any]] = {}
    while True:
        for actor in alive:
            while sum(owner is actor for _, owner in pending.values()) < AHEAD:
                job = again.pop() if again else next(queue, None)
                if job is None:
                    break
                pending[actor.measure.remote(job.pipeline, job.schedule)] = job, actor
        if not pending:
            break
        ready, _ = ray.wait(list(pending), num_returns=1)
        job, owner = pending.pop(ready[0])
        try:
            measurement = ray.get(ready[0])
        except ray.exceptions.RayActorError:
            again.append(job)
            alive = [actor for actor in alive if actor is not owner]
            continue
        publisher.add(metrics.VALUE_LEARNING_MEASURED, 1, status=measurement.status)
        yield job, measurement
    if again:
        raise RuntimeError("no measuring machine is left; what was measured is stored")
