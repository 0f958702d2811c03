from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from mlsys_ray.cluster.value_learning.measuring import MeasuringActor, measuring_on_ray
from mlsys_ray.value_learning.measuring import Measurement
from mlsys_ray.value_learning.operators import MatMul, Pipeline, chain
from mlsys_ray.value_learning.space import Schedule
from mlsys_ray.value_learning.target import Target, host_target
from mlsys_ray.value_learning.value_iteration import Job, random_jobs

PIPELINE = chain((32, 16), MatMul(out_features=24))


@pytest.mark.slow
def test_every_job_is_measured_once(cluster) -> None:
    target = host_target(1)
    jobs = list(random_jobs([PIPELINE], target, 5, seed=0))
    with measuring_on_ray(target) as measure:
        found = list(measure(jobs))
    assert {job.schedule for job, _ in found} == {job.schedule for job in jobs}
    assert len(found) == 5
    assert all(measurement.status == "ok" for _, measurement in found)


@pytest.mark.slow
def test_the_only_machine_killed_in_mid_run_is_told_and_loses_nothing(cluster, monkeypatch) -> None:
    """What was measured has been handed over; what was not is not recorded as if it had been."""
    target = host_target(1)
    jobs = list(random_jobs([PIPELINE], target, 6, seed=1))

    def die_at_third(self: MeasuringActor, pipeline: Pipeline, schedule: Schedule) -> Measurement:
        self.count = getattr(self, "count", 0) + 1
        if self.count == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return self._measurer.measure(pipeline, schedule)

    monkeypatch.setattr(MeasuringActor, "measure", die_at_third)
    found = []

    def keep(pairs: Iterator[tuple[Job, Measurement]]) -> None:
        for pair in pairs:
            found.append(pair)

    with measuring_on_ray(target) as measure, pytest.raises(RuntimeError, match="no measuring"):
        keep(measure(jobs))
    # The answer before the kill may die with the process before it is fetched.
    assert [measurement.status for _, measurement in found] in (["ok"], ["ok"] * 2)
    assert {job.schedule for job, _ in found} < {job.schedule for job in jobs}


@pytest.mark.slow
def test_machines_of_another_kind_do_not_measure(cluster) -> None:
    other = Target(halide="arm-64-linux", lanes=4, registers=32, caches=(1, 2, 3), cores=1)
    with pytest.raises(ValueError, match="no machine is arm-64"), measuring_on_ray(other):
        pass
