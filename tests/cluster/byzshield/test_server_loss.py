"""The parameter server's process is killed, and the run resumed from its checkpoint."""

import json
import signal
import subprocess
import sys

import pytest
from waiting import wait_until

from mlsys_ray.cluster.local_cluster import family
from mlsys_ray.cluster.run_reader import load_run

SETTINGS = [
    *("--batch-size", "75", "--iterations", "20", "--eval-interval", "5"),
    *("--byzantine", "2", "--attack", "alie"),
]
MEASURED = ("seconds_", "bytes_", "event_")


def command(run, *options):
    line = [sys.executable, "-m", "mlsys_ray", "byzshield", "train", *SETTINGS]
    return [*line, "--run-dir", str(run), *options]


def curve(path):
    table = load_run(path).metrics
    return table[[name for name in table if not name.startswith(MEASURED)]]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_whose_server_was_killed_goes_on_to_the_same_curve(two_nodes, tmp_path):
    run, log = tmp_path / "run", tmp_path / "driver.log"
    on_ray = ["--address", two_nodes.address, "--processes", "2", "--checkpoint-interval", "5"]
    with log.open("w") as file:
        driver = subprocess.Popen(command(run, *on_ray), env=two_nodes.environment, stderr=file)
    try:
        checkpoint = run / "checkpoint.safetensors"
        wait_until(lambda: driver.poll() is not None or checkpoint.exists(), "no checkpoint", 250)
        (server,) = [
            process
            for process in family(two_nodes.nodes[0])
            if any("ray::Server" in argument for argument in process.cmdline())
        ]
        server.send_signal(signal.SIGKILL)
        assert driver.wait(timeout=100) == 4
    finally:
        driver.kill()
        driver.wait()
    assert "the parameter server's process ended" in log.read_text()
    assert "--resume" in log.read_text()
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "failed"
    on_ray.append("--resume")
    subprocess.run(command(run, *on_ray), env=two_nodes.environment, check=True, timeout=250)
    whole = tmp_path / "whole"
    subprocess.run(command(whole, "--in-process"), check=True, timeout=250)
    assert len(curve(run)) == 20
    assert curve(run).equals(curve(whole))
