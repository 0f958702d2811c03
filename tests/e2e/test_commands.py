"""The commands as a user types them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_until

ROOT = Path(__file__).parents[2]
SMALL = ["--in-process", "--batch-size", "75", "--iterations", "6", "--eval-interval", "3"]


def command(*arguments):
    return [sys.executable, "-m", "mlsys_ray", *map(str, arguments)]


def run(*arguments, **options):
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=200, **options
    )


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["demo"],
        ["doctor"],
        ["fetch"],
        ["report"],
        ["compare"],
        ["byzshield"],
        ["byzshield", "train"],
        ["byzshield", "distortion"],
        ["fireplace"],
        ["fireplace", "trace"],
        ["fireplace", "train"],
        ["fireplace", "evaluate"],
        ["fireplace", "agent"],
        ["fireplace", "agents"],
    ],
)
def test_help(arguments, run_here):
    result = run_here(*arguments, "--help")
    assert result.returncode == 0
    assert "usage: mlsys-ray" in result.stdout


def test_help_imports_nothing_heavy():
    code = (
        "import sys, contextlib\n"
        "from mlsys_ray.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['byzshield', 'train', '--help'])\n"
        "heavy = {'torch', 'ray', 'numba', 'pandas', 'matplotlib', 'scipy', 'sklearn'}\n"
        "print(heavy & sys.modules.keys(), file=sys.stderr)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stderr == "set()\n"


def test_help_names_the_unit_of_every_number(run_here, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    text = run_here("byzshield", "train", "--help").stdout
    numbers = [line for line in text.splitlines() if " INT " in line or " FLOAT " in line]
    assert len(numbers) > 5
    for unit in ("[files]", "[workers]", "[iterations]", "[seconds]", "[samples]", "[ratio]"):
        assert unit in text


def test_distortion_prints_table_4_of_the_paper():
    q = range(3, 13)
    result = run(
        *("byzshield", "distortion", "--scheme", "ramanujan2", "--load", 5, "--replication", 5),
        *("--byzantine", *q, "--json"),
    )
    assert result.returncode == 0
    rows = json.loads(result.stdout)
    assert [row["c_max"] for row in rows] == [1, 1, 2, 4, 5, 7, 9, 12, 14, 17]
    assert list(rows[0]) == [
        *("num_workers", "num_files", "load", "replication", "byzantine", "c_max", "epsilon"),
        *("baseline", "frc", "gamma", "exact", "seconds"),
    ]
    assert "ramanujan2: K=25 workers" in result.stderr


def test_distortion_of_aspis_with_and_without_detection(run_here):
    """The rows of the Aspis paper for K = 15, r = 3 under ATT-2."""
    options = ["--scheme", "aspis", "--num-workers", 15, "--replication", 3]
    result = run_here("byzshield", "distortion", *options, "--byzantine", 2, 3, 4, "--json")
    assert result.returncode == 0
    rows = json.loads(result.stdout)
    assert [row["undetected_c_max"] for row in rows] == [2, 10, 28]
    assert all(row["c_max"] > row["undetected_c_max"] for row in rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["byzshield", "train", "--scheme", "x"], "scheme is 'x', must be one of"),
        (["byzshield", "train", "--resume"], "resume needs run_dir"),
        (["byzshield", "train", "--in-process", "--processes", "2"], "leave processes out"),
        (["byzshield", "distortion", "--load", "6", "--replication", "3"], "must be a prime power"),
        (["byzshield", "distortion", "--byzantine", "99"], "byzantine is 99"),
        (["fetch", "mnist"], "name is 'mnist', must be one of cifar10"),
        (["report"], "one run directory or more"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_status_2(arguments, message, run_here):
    result = run_here(*arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_train_report_and_compare(tmp_path, run_here):
    runs = [tmp_path / f"seed-{seed}" for seed in (0, 1)]
    for seed, (path, start) in enumerate(zip(runs, (run, run_here), strict=True)):
        result = start("byzshield", "train", *SMALL, "--seed", seed, "--run-dir", path, "--json")
        assert result.returncode == 0, result.stderr
        summary = json.loads(result.stdout)
        assert summary["status"] == "done"
        assert summary["iterations"] == 6
        assert {"config.json", "environment.json", "metrics.jsonl", "summary.json"} <= {
            file.name for file in path.iterdir()
        }
        assert "iteration    6" in result.stderr
    report = run_here("report", *runs, "--json")
    assert report.returncode == 0
    assert Path(json.loads(report.stdout)["path"]).read_text().count("data:image/png") >= 2
    compare = run_here("compare", *runs, "--json")
    assert compare.returncode == 0
    assert len(json.loads(compare.stdout)["groups"]) == 1


def test_a_run_directory_in_use_is_refused_and_says_by_whom(tmp_path):
    path = tmp_path / "run"
    slow = [*SMALL[:-4], "--iterations", "2000"]
    with subprocess.Popen(
        command("byzshield", "train", *slow, "--run-dir", path), stderr=subprocess.DEVNULL
    ) as first:
        try:
            wait_until((path / "metrics.jsonl").exists, "no row", 60)
            second = run("byzshield", "train", *slow, "--run-dir", path)
        finally:
            first.send_signal(signal.SIGINT)
    assert second.returncode == 2
    assert f"process {first.pid}" in second.stderr
    assert first.returncode == 130
    assert json.loads((path / "summary.json").read_text())["status"] == "interrupted"


@pytest.mark.slow
def test_a_killed_run_is_resumed_with_the_curve_of_an_uninterrupted_one(tmp_path):
    length = ["--iterations", "30", "--eval-interval", "5", "--checkpoint-interval", "4"]
    flags = ["--in-process", "--batch-size", "75", "--byzantine", "3", "--attack", "alie", *length]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run("byzshield", "train", *flags, "--run-dir", whole).returncode == 0
    with subprocess.Popen(
        command("byzshield", "train", *flags, "--run-dir", broken), stderr=subprocess.DEVNULL
    ) as process:
        wait_until((broken / "checkpoint.safetensors").exists, "no checkpoint", 60)
        process.kill()
    refused = run("byzshield", "train", *flags, "--run-dir", broken)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    resumed = run("byzshield", "train", *flags, "--run-dir", broken, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert measured(broken) == measured(whole)


@pytest.mark.slow
@pytest.mark.parametrize("where", [["--in-process"], ["--processes", "1"]])
def test_a_model_of_the_users_is_found_where_the_command_is_typed(tmp_path, where):
    (tmp_path / "my_models.py").write_text(
        "import torch\n"
        "def linear(shape, classes):\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(classes))\n"
        "def net(shape, classes):\n"
        "    model = linear(shape, classes)\n"
        "    model(torch.zeros(1, *shape))\n"
        "    return model\n"
    )
    flags = [*SMALL[1:], *where, "--model", "my_models:net"]
    result = run("byzshield", "train", *flags, "--run-dir", "run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr


def test_no_file_ever_decided_is_a_failed_run(tmp_path, run_here):
    faults = [f"{worker}:error" for worker in range(15)]
    options = [*SMALL, "--faults", *faults, "--run-dir", tmp_path / "run"]
    result = run_here("byzshield", "train", *options)
    assert result.returncode == 1
    assert "not one file was ever decided" in result.stderr


def test_missing_data_is_exit_status_4(tmp_path):
    environment = os.environ | {"MLSYS_RAY_DATA": "", "XDG_CACHE_HOME": str(tmp_path)}
    result = run("byzshield", "train", *SMALL, "--data", "cifar10", env=environment, cwd=tmp_path)
    assert result.returncode == 4
    assert "MLSYS_RAY_DATA: not set" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_address_without_a_cluster_is_exit_status_4_and_names_the_token(tmp_path):
    # In a process of its own: this one may belong to a cluster already.
    path = tmp_path / "run"
    result = run("byzshield", "train", "--address", "127.0.0.1:1", "--run-dir", path)
    assert result.returncode == 4
    assert "nothing answers at 127.0.0.1:1" in result.stderr
    assert "token" in result.stderr
    assert json.loads((path / "summary.json").read_text())["status"] == "failed"


def test_doctor(run_here):
    result = run("doctor", "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["usable_cores"] >= 1
    assert report["ray"]["authentication"] == "token"
    assert {"torch", "ray", "numpy"} <= report["packages"].keys()
    assert run_here("doctor", "--address", "127.0.0.1:1").returncode == 4


def test_algorithms_import_without_ray():
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'ray':\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import pkgutil, importlib, mlsys_ray.byzshield, mlsys_ray.envs\n"
        "for package in (mlsys_ray.byzshield, mlsys_ray.envs):\n"
        "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(module.name)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def measured(path):
    """The metrics of a run that are not times."""
    rows = map(json.loads, (path / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in row.items() if not k.startswith("seconds_")} for row in rows]
