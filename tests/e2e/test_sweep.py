"""Studies on Ray Tune, as a user runs them."""

import json
import signal
import subprocess
import sys

import pytest
from waiting import wait_until

pytestmark = pytest.mark.slow
POINT = ["--batch-size", "75", "--iterations", "6", "--eval-interval", "2"]


def command(*arguments):
    return [sys.executable, "-m", "mlsys_ray", "byzshield", *map(str, arguments)]


def run(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=250)


def test_a_study_killed_half_way_goes_on_and_runs_nothing_twice(tmp_path):
    axes = [
        *("--schemes", "mols", "frc", "baseline", "--attacks", "alie:1.0", "constant"),
        *("--byzantine-counts", 3, "--rules", "median", "bulyan"),
    ]
    study = ["sweep", *POINT, *axes, "--run-dir", tmp_path / "study"]
    with subprocess.Popen(
        command(*study), stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        before = wait_until(lambda: finished(tmp_path), "no trial finished", 100)
        process.send_signal(signal.SIGKILL)
    result = run(*study, "--json")
    assert result.returncode == 0, result.stderr[-2000:]
    after = finished(tmp_path)
    assert {path: after[path] for path in before} == before
    # DETOX has 5 votes, too few for Bulyan with one of them distorted.
    rows = json.loads(result.stdout)
    assert len(after) == (3 * 2 - 1) * 2
    assert {(row["scheme"], row["rule"]) for row in rows} == {
        ("mols", "median"),
        ("mols", "bulyan"),
        ("frc", "median"),
        ("baseline", "median"),
        ("baseline", "bulyan"),
    }
    assert "refused: {'scheme': 'frc', 'rule': 'bulyan'" in result.stderr
    assert (tmp_path / "study/report.html").exists()
    plots = {plot.stem for plot in (tmp_path / "study/plots").iterdir()}
    assert plots == {"accuracy under alie", "accuracy under constant"}


def finished(folder):
    """When the summary of each finished trial was written, by trial."""
    return {
        path.parent.name: path.stat().st_mtime_ns
        for path in (folder / "study/trials").glob("*/summary.json")
        if json.loads(path.read_text())["status"] == "done"
    }
