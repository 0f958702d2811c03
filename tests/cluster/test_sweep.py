"""Studies of ByzShield, by their commands."""

import json

import pytest

from mlsys_ray.cli.main import main

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cluster")]


def statuses(study):
    files = (study / "trials").glob("*/summary.json")
    return [json.loads(file.read_text())["status"] for file in files]


def test_a_failed_trial_is_recorded_and_the_others_go_on(tmp_path):
    point = ["--batch-size", "75", "--iterations", "6", "--eval-interval", "2"]
    faults = [f"{worker}:error" for worker in range(15)]
    axes = ["--schemes", "mols", "--seeds", "0", "1", "--run-dir", str(tmp_path / "study")]
    assert main(["byzshield", "sweep", *point, "--faults", *faults, *axes]) == 3
    assert statuses(tmp_path / "study") == ["failed", "failed"]


def test_reproduce_prints_paper_and_here(tmp_path, capsys):
    place = ["--run-dir", "study", "--storage", str(tmp_path)]
    asked = ["--figures", "9", "10", "--max-byzantine", "6"]
    assert main(["byzshield", "reproduce", *asked, *place, "--json"]) == 0
    tables = json.loads(capsys.readouterr().out)
    assert all(row["difference"] == 0 for row in tables["distortion"])
    assert len(tables["accuracy"]) == 4
    assert all(row["here"] > 0 for row in tables["accuracy"])
    assert (tmp_path / "study/plots/figure 09.png").exists()
    assert statuses(tmp_path / "study") == ["done"] * 4
