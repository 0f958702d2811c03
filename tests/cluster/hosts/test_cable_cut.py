"""A host is cut off in the middle of training, and comes back."""

import json
import secrets
import time

import pytest
from waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

NUM_WORKERS, NUM_FILES, NUM_PROCESSES = 15, 25, 4
DEADLINE = 8
# A node is lost 36 s after it was heard of last: a cut of 20 s leaves it time to be heard again, a
# cut of 60 s does not.
HEALTH = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "3000",
    "RAY_health_check_timeout_ms": "6000",
    "RAY_health_check_failure_threshold": "4",
}

# What a raylet ends with, by who is the first to tell it.
TOLD_DEAD = ("mistakenly been marked as dead by the GCS", "GCS consider this node to be dead")


class Training:
    """A run that goes on until it is ended, seen through its run directory."""

    def __init__(self, host, path, environment):
        self._path, self.log = path, path.with_suffix(".log")
        command = ["python", "-m", "mlsys_ray", "byzshield", "train", "--address", "auto"]
        command += [
            "--processes",
            str(NUM_PROCESSES),
            "--batch-size",
            "75",
            "--deadline",
            str(DEADLINE),
        ]
        command += ["--iterations", "1000000", "--eval-interval", "1000000"]
        self._process = host.popen([*command, "--run-dir", str(path)], self.log, **environment)

    def rows(self):
        path = self._path / "metrics.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def last(self):
        """The last iteration."""
        assert self._process.poll() is None, self.log.read_text()
        return self.rows()[-1]

    def is_whole(self):
        """Whether everybody takes part and every file is decided."""
        last = self.last()
        return not last["silent_workers"] and last["decided_files"] == NUM_FILES


@pytest.fixture(scope="module")
def cluster(lan, tmp_path_factory):
    """A head, a second host, each with half of the workers, and a training that has begun."""
    head, host = lan.add("head"), lan.add("second")
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    head_only = ["--head", "--port=6379", "--include-dashboard=false"]
    head.ray_start(*head_only, "--num-cpus=2", **token, **HEALTH)
    join(host, head, token)
    training = Training(head, tmp_path_factory.mktemp("training") / "run", token)
    wait_until(
        lambda: len(training.rows()) >= 5 and training.is_whole(),
        lambda: f"the run does not start: {training.log.read_text()}",
        600,
    )
    return head, host, token, training


def join(host, head, token):
    host.ray_start(f"--address={head.address}:6379", "--num-cpus=2", **token)


def cut_for(seconds, lan, host, training):
    """Cut a host off; the run goes on without its workers."""
    before = len(training.rows())
    lan.cut(host)
    time.sleep(seconds)
    during = training.rows()[before:]
    lan.heal(host)
    silent = [set(row["silent_workers"]) for row in during if row["silent_workers"]]
    assert len(silent) > 1, f"somebody was missed in {len(silent)} of {len(during)} iterations"
    # Some may have answered in the iteration that the cut fell into; afterwards all are silent
    # throughout, and others late now and then.
    silent = silent[1:]
    missed = set.intersection(*silent)
    homes = {worker % NUM_PROCESSES for worker in missed}
    assert len(homes) == 2, f"missed in all of {len(silent)} iterations: {sorted(missed)}"
    assert missed == {w for w in range(NUM_WORKERS) if w % NUM_PROCESSES in homes}


def test_a_cut_of_20_s_costs_votes_and_no_host(cluster, lan):
    _, host, _, training = cluster
    cut_for(20, lan, host, training)
    wait_until(training.is_whole, lambda: f"not whole again: {training.last()}", 300)
    assert host.runs("raylet")


def test_after_a_cut_of_60_s_the_host_leaves_and_can_join_again(cluster, lan):
    head, host, token, training = cluster
    cut_for(60, lan, host, training)
    wait_until(lambda: not host.runs("raylet"), "the raylet of a lost host goes on", 180)
    # session_latest is a link to the host's own /tmp/ray, which from here is another one.
    logs = [log.read_text() for log in host.folder.glob("ray/session_2*/logs/raylet.*")]
    assert any(told in log for log in logs for told in TOLD_DEAD), logs
    join(host, head, token)
    wait_until(training.is_whole, lambda: f"not whole again: {training.last()}", 300)
