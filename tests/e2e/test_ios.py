"""The scheduling commands as a user types them."""

import json
import signal
import subprocess
import sys

import pytest

NETWORK = """
from torch import nn

def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
"""


def run(*arguments, cwd=None):
    command = [sys.executable, "-m", "mlsys_ray", "ios", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=cwd)


@pytest.mark.slow
def test_count_and_simulate_a_users_network(tmp_path):
    (tmp_path / "my_networks.py").write_text(NETWORK)
    own = ["--model", "my_networks:net", "--input-shape", 3, 8, 8, "--json"]
    counted = run("count", *own, cwd=tmp_path)
    assert counted.returncode == 0, counted.stderr
    (block,) = json.loads(counted.stdout)["blocks"]
    assert block == {
        "block": 0,
        "operators": 2,
        "width": 1,
        "states": 2,
        "transitions": 3,
        "schedules": 2,
    }
    options = ["--lanes", 1, 4, "--run-dir", "run"]
    simulated = run("simulate", *own, *options, cwd=tmp_path)
    assert simulated.returncode == 0, simulated.stderr
    result = json.loads(simulated.stdout)
    assert result["simulated"] is True
    for device in result["devices"]:
        assert device["gain"] >= 1
        assert device["ios_parallel_ms"] <= device["greedy_ms"]
    assert (tmp_path / "run" / "plots").exists()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "done"


def test_an_unknown_network_names_those_that_are_accepted(run_here):
    refused = run_here("ios", "count", "--network", "alexnet")
    assert refused.returncode == 2
    assert "accepted: inception_v3" in refused.stderr


@pytest.mark.slow
def test_tools_are_compared_on_a_users_network(tmp_path):
    (tmp_path / "my_networks.py").write_text(NETWORK)
    own = ["--model", "my_networks:net", "--input-shape", 3, 8, 8]
    options = ["--variants", "sequential", "--against", "eager", "--rounds", 2]
    options += ["--run-dir", "run", "--json"]
    compared = run("compare", *own, *options, cwd=tmp_path)
    assert compared.returncode == 0, compared.stderr
    result = json.loads(compared.stdout)
    assert set(result["latency_ms"]) == {"sequential", "eager"}
    assert all(value > 0 for value in result["latency_ms"].values())
    assert result["max_abs_difference"]["eager"] < 1e-5
    assert set(result["versions"]) == {"sequential", "eager"}
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 2
    assert list((tmp_path / "run" / "plots").iterdir())


def test_a_users_network_is_optimised_run_and_shown(tmp_path, run_here, monkeypatch):
    (tmp_path / "my_networks.py").write_text(NETWORK)
    own = ["--model", "my_networks:net", "--input-shape", 3, 16, 16, "--num-threads", 2, "--json"]
    kernels = ["--kernels", "onednn", "direct", "halide", "--halide-seconds", 0.1]
    out = ["--out", "schedule.json", "--run-dir", "run", "--fresh"]
    found = run("optimize", *own, *kernels, *out, cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    result = json.loads(found.stdout)
    assert {row["name"] for row in result["schedules"]} == {"sequential", "ios_mixed"}
    assert result["stopped_early"] is False
    assert result["num_measured"] > 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "done"
    ran = run("run", "schedule.json", *own, "--trace", "trace.json", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["min_ms"] > 0
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert {event["ph"] for event in events} >= {"X"}
    monkeypatch.chdir(tmp_path)
    shown = run_here("ios", "show", "schedule.json")
    assert shown.returncode == 0, shown.stderr
    assert (tmp_path / "schedule.png").stat().st_size > 1000
    (tmp_path / "schedule.json").write_text((tmp_path / "schedule.json").read_text()[:-20])
    refused = run_here("ios", "run", "schedule.json", *own)
    assert refused.returncode == 2
    assert "damaged" in refused.stderr


BRANCHES = """
import torch
from torch import nn

class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3, 8, k, padding=k // 2) for k in (1, 3, 5, 7))

    def forward(self, x):
        return torch.cat([conv(x) for conv in self.convs], 1)

def net():
    return Branches()
"""


@pytest.mark.slow
def test_ctrl_c_ends_the_search_with_the_best_so_far(tmp_path):
    (tmp_path / "my_networks.py").write_text(BRANCHES)
    own = ["--model", "my_networks:net", "--input-shape", 3, 12, 12, "--num-threads", 2]
    options = ["--out", "schedule.json", "--run-dir", "run", "--fresh", "--json"]
    command = [sys.executable, "-m", "mlsys_ray", "ios", "optimize", *map(str, own + options)]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for line in process.stderr:
        if "capturing the network" in line:
            process.send_signal(signal.SIGINT)
            break
    output, errors = process.communicate(timeout=280)
    assert process.returncode == 0, errors
    assert "stopping: the best schedule so far is measured and written" in errors
    assert "the search of ios_mixed was stopped early" in errors
    assert json.loads(output)["stopped_early"] is True
    for file in ("run/summary.json", "schedule.json"):
        assert json.loads((tmp_path / file).read_text())["stopped_early"] is True
    ran = run("run", "schedule.json", *own, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.slow
def test_a_runtime_that_wins_is_what_the_schedule_runs(tmp_path):
    (tmp_path / "my_networks.py").write_text(BRANCHES)
    own = ["--model", "my_networks:net", "--input-shape", 3, 12, 12, "--num-threads", 1]
    options = ["--strategy", "sequential", "--peers", "eager", "cuda_graph", "--run-dir", "run"]
    found = run("optimize", *own, *options, "--json", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert "cuda_graph is left out: CUDA graphs run on a GPU" in found.stderr
    result = json.loads(found.stdout)
    assert [row["name"] for row in result["schedules"]] == [
        "sequential",
        "sequential, beside runtimes",
        "eager",
    ]
    schedule = json.loads((tmp_path / "run" / "schedule.json").read_text())
    assert schedule["runtime"] == ("eager" if result["best"] == "eager" else None)
    (tmp_path / "eager.json").write_text(json.dumps({**schedule, "runtime": "eager"}))
    ran = run("run", "eager.json", *own, "--json", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["runtime"] == "eager"
    traced = run("run", "eager.json", *own, "--trace", "trace.json", cwd=tmp_path)
    assert traced.returncode == 2
    assert "eager runs this network whole" in traced.stderr
