"""Studies on a cluster of two nodes, of which parts are killed or vanish in the middle."""

import json
import os
import random
import signal
from itertools import pairwise

import pytest
from short_study import start_study
from waiting import wait_until

from mlsys_ray.cluster.storage import Storage

pytestmark = pytest.mark.slow
NUM_KILLS = 20


class Driver:
    """The driver of a study of short trials."""

    def __init__(self, nodes, logs, folder, num_trials, seconds, **options):
        logs.mkdir(exist_ok=True)
        self.log = logs / "trials.log"
        (stderr := logs / "driver.log").touch()
        self.said = stderr.read_text
        environment = {**os.environ, **nodes.environment, "RAY_ADDRESS": nodes.address}
        arguments = (folder, num_trials, seconds, self.log)
        self.process = start_study(environment, stderr, *arguments, **options)

    def has_begun(self):
        assert self.process.is_alive(), self.said()
        return "begins" in self.said()

    def result(self):
        self.process.join(280)
        return self.process.exitcode, self.said()

    def ran(self):
        """Number, begin and end of each trial that was run to its end, in order."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [tuple(map(float, line.split())) for line in lines]

    def numbers(self):
        return sorted(int(number) for number, _, _ in self.ran())


def recorded(folder):
    """When each finished trial was recorded."""
    return {
        path.parent.name: path.stat().st_mtime_ns
        for path in (folder / "trials").glob("*/summary.json")
        if json.loads(path.read_text())["status"] == "done"
    }


@pytest.mark.timeout(900)
def test_a_driver_killed_at_random_moments_runs_no_finished_trial_again(two_nodes, tmp_path):
    moments = random.Random(1)
    num_trials = 3 * NUM_KILLS
    before = {}
    for _ in range(NUM_KILLS):
        driver = Driver(two_nodes, tmp_path, tmp_path / "study", num_trials, 0.2)
        try:
            wait_until(driver.has_begun, "the study does not begin", 250)
            driver.process.join(moments.uniform(0, 1.5))
        finally:
            driver.process.kill()
            driver.process.join()
        now = recorded(tmp_path / "study")
        assert {name: now[name] for name in before} == before
        before = now
        if len(before) == num_trials:
            break
    driver = Driver(two_nodes, tmp_path, tmp_path / "study", num_trials, 0.2)
    code, said = driver.result()
    assert code == 0, said
    after = recorded(tmp_path / "study")
    assert {name: after[name] for name in before} == before
    assert len(after) == num_trials


def test_a_node_killed_in_mid_study_costs_only_its_running_trials(two_nodes, tmp_path):
    two_nodes.add_node()
    lost = len(two_nodes.nodes) - 1
    driver = Driver(two_nodes, tmp_path, tmp_path / "study", 9, 1.5)
    wait_until(lambda: len(driver.ran()) >= 2, "no trial ends", 250)
    before = recorded(tmp_path / "study")
    two_nodes.raylet(lost).send_signal(signal.SIGKILL)
    code, said = driver.result()
    assert code == 0, said
    after = recorded(tmp_path / "study")
    assert len(after) == 9, said
    assert {name: after[name] for name in before} == before
    assert "9 of 9 trials recorded" in said


def test_a_worker_that_dies_between_two_trials_costs_none(two_nodes, tmp_path):
    driver = Driver(two_nodes, tmp_path, tmp_path / "study", 6, 0.2, dies_after=1)
    code, said = driver.result()
    assert code == 0, said
    assert len(recorded(tmp_path / "study")) == 6, said
    assert driver.numbers() == list(range(6))


@pytest.mark.parametrize("kept", ["in a storage", "in its folder"])
def test_a_disk_that_vanishes_stops_the_study_and_it_goes_on_when_it_is_back(
    kept, two_nodes, tmp_path
):
    place = tmp_path / "disk"
    options = {"storage": str(place)} if kept == "in a storage" else {}
    folder = tmp_path / "study" if options else place / "study"
    records = place / "study" if options else folder
    folder.parent.mkdir(exist_ok=True)
    driver = Driver(two_nodes, tmp_path, folder, 12, 0.7, **options)
    wait_until(lambda: len(recorded(records)) >= 2, "no trial is recorded", 250)
    place.rename(tmp_path / "elsewhere")
    place.touch()  # so that nobody makes the folder anew
    code, said = driver.result()
    assert code == 4, said
    assert f"{records} cannot be written any more, after" in said
    assert "of 12 trials" in said
    assert "start the same command again" in said
    place.unlink()
    (tmp_path / "elsewhere").rename(place)
    before = recorded(records)
    assert 2 <= len(before) < 12
    code, said = Driver(two_nodes, tmp_path, folder, 12, 0.0, **options).result()
    assert code == 0, said
    after = recorded(records)
    assert len(after) == 12
    assert {name: after[name] for name in before} == before


def test_trials_that_measure_are_alone_on_their_node(two_nodes, tmp_path):
    driver = Driver(two_nodes, tmp_path, tmp_path / "study", 4, 0.5, measures=True)
    code, said = driver.result()
    assert code == 0, said
    # Of the nodes of this machine one offers to measure.
    times = sorted((begin, end) for _, begin, end in driver.ran())
    assert len(times) == 4
    assert all(end <= begin for (_, end), (begin, _) in pairwise(times))


def test_a_study_on_s3_goes_on_from_there(two_nodes, tmp_path, s3_server, monkeypatch):
    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    place = f"s3://bucket-of-tests/{tmp_path.name}"
    options = {"storage": place}
    first = Driver(two_nodes, tmp_path / "one", tmp_path / "one/study", 3, 0.0, **options)
    assert first.result()[0] == 0, first.said()
    assert first.numbers() == [0, 1, 2]
    second = Driver(two_nodes, tmp_path / "two", tmp_path / "two/study", 4, 0.0, **options)
    assert second.result()[0] == 0, second.said()
    assert second.numbers() == [3]
    Storage.open(place).fetch("study", tmp_path / "fetched")
    assert len(recorded(tmp_path / "fetched")) == 4


def test_two_drivers_of_one_study_at_once(two_nodes, tmp_path):
    options = {"storage": str(tmp_path / "storage")}
    first = Driver(two_nodes, tmp_path, tmp_path / "study", 4, 1.0, **options)
    wait_until(first.has_begun, "the study does not begin", 250)
    second = Driver(two_nodes, tmp_path / "other", tmp_path / "other/study", 4, 1.0, **options)
    code, said = second.result()
    assert code != 0
    assert "is in use by process" in said
    assert first.result()[0] == 0
