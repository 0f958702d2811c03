"""What studies have in common, without nodes that fail."""

import json
import os
from pathlib import Path

import pytest
from ray.tune.trainable import function_trainable

from mlsys_ray.cluster.run_directory import RunDirectory, RunInUseError
from mlsys_ray.cluster.trials import (
    Objective,
    begin_anew,
    recorded,
    report,
    run_missing,
    run_search,
    settled_runs,
    stopped_early,
    trial_path,
)

UNTIL = 9
CURVE = Objective(metric="score", mode="max", time="step", until=UNTIL)


def climb(trial, path):
    """A trial whose score grows with its rate, up to 1; above that it fails."""
    with RunDirectory.create(path, trial, experiment="climb", resume=path.exists()) as run:
        if trial["rate"] > 1:
            raise ValueError("too fast")
        for step in range(1, UNTIL + 1):
            score = step * trial["rate"]
            run.log({"step": step, "score": score})
            if step < UNTIL:
                report(step=step, score=score)
        run.finish({"score": score})
    return {"step": UNTIL, "score": score}


def climb_and_leave(trial, path):
    """A trial whose process dies when it is given its next one."""
    result = climb(trial, path)
    # What Tune asks for in a process that is to run another trial.
    function_trainable.TrialInfo = lambda **_: os._exit(1)
    return result


def test_a_trial_is_named_by_what_it_runs_not_by_where():
    folder = Path("trials")
    here = trial_path(folder, "a", {"seed": 1, "data_dir": "/here", "inner": {"run_dir": "x"}})
    there = trial_path(folder, "a", {"seed": 1, "data_dir": "/there", "inner": {}})
    assert here == there
    assert here != trial_path(folder, "a", {"seed": 2, "data_dir": "/here", "inner": {}})


def test_what_still_runs_is_not_removed(tmp_path):
    path = tmp_path / "run"
    with RunDirectory.create(path, {}, experiment="test") as run:
        with pytest.raises(RunInUseError):
            begin_anew(path)
        run.finish({})
    begin_anew(path)
    assert not path.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_bad_trials_are_stopped_early_and_failed_ones_are_left_as_failed(tmp_path):
    rates = [1.0, 0.9, 0.1, 0.05, 0.01, 2.0]
    trials = {tmp_path / f"rate-{rate}": {"rate": rate} for rate in rates}
    run_missing(trials, climb, stop_early=CURVE)
    stopped = {path.name for path in trials if stopped_early(path) is not None}
    done = {path.name for path in trials if recorded(path) is not None}
    assert "rate-1.0" in done
    assert "rate-0.01" in stopped
    assert done | stopped == {f"rate-{rate}" for rate in rates} - {"rate-2.0"}
    summary = json.loads((tmp_path / "rate-2.0/summary.json").read_text())
    assert summary["status"] == "failed"
    assert "too fast" in summary["error"]
    last = stopped_early(tmp_path / "rate-0.01")
    assert last["config"] == {"rate": 0.01}
    assert last["reported"]["score"] == pytest.approx(0.01 * last["reported"]["step"])
    del trials[tmp_path / "rate-2.0"]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/summary.json")}
    run_missing(trials, climb, stop_early=CURVE)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def draw(folder, run_trial, num_trials):
    run_search(
        {"rate": 0.5},
        {"rate": (0.01, 1.0)},
        lambda point: (trial_path(folder, "climb", dict(point)), dict(point)),
        run_trial,
        folder=folder,
        num_trials=num_trials,
        objective=CURVE,
    )
    return settled_runs(folder, {"rate": 0.5}, ["rate"])


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_search_draws_what_is_missing_and_learns_from_what_is_recorded(tmp_path):
    def search(num_trials):
        return draw(tmp_path, climb, num_trials)

    first = search(3)
    assert len({trial.point["rate"] for trial in first}) == 3
    assert all(0.01 <= trial.point["rate"] <= 1 for trial in first)
    ended = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/summary.json")}
    second = search(5)
    assert len({trial.point["rate"] for trial in second}) == 5
    assert {path: path.stat().st_mtime_ns for path in ended} == ended
    assert all(t.left["score"] == pytest.approx(UNTIL * t.point["rate"]) for t in second)
    assert len(search(5)) == 5


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_search_loses_no_trial_to_processes_that_die_between_two(tmp_path):
    assert len(draw(tmp_path, climb_and_leave, 3)) == 3
