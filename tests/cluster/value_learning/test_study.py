from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlsys_ray.cli.main import main
from mlsys_ray.cluster.run_directory import RunDirectory
from mlsys_ray.cluster.value_learning.study import SearchTrial, same_runtime, search_path


def trial(method: str, layer: str, trials: int = 0) -> SearchTrial:
    return SearchTrial(method=method, layer=layer, trials=trials, threads=1, seed=0, model="")


def record(
    folder: Path,
    search: SearchTrial,
    ms: float | None,
    seconds: float,
    history: tuple[tuple[float, float], ...] = (),
) -> SearchTrial:
    with RunDirectory.create(search_path(folder, search), {}, experiment="made") as run:
        for at, best in history:
            run.log({"seconds": at, "best_ms": best})
        run.finish({"ms": ms, "search_seconds": seconds, "evaluated": 1})
    return search


def test_the_time_to_the_same_runtime(tmp_path: Path) -> None:
    history = ((1.0, 9.0), (4.0, 2.0), (30.0, 1.5))
    trials = [
        record(tmp_path, trial("beam", "a"), 2.0, 0.1),
        record(tmp_path, trial("evolutionary", "a", 64), 1.6, 50.0, history),
        record(tmp_path, trial("evolutionary", "a", 8), 9.0, 3.0, history[:1]),
        record(tmp_path, trial("beam", "b"), 1.0, 0.5),
        record(tmp_path, trial("evolutionary", "b", 64), 1.6, 50.0, history),
        record(tmp_path, trial("beam", "nothing runs"), 1.0, 0.5),
        record(tmp_path, trial("evolutionary", "nothing runs", 64), None, 20.0),
        record(tmp_path, trial("beam", "beam's does not run"), None, 0.5),
        record(tmp_path, trial("evolutionary", "beam's does not run", 64), 1.6, 50.0, history),
        record(tmp_path, trial("beam", "alone"), 1.0, 0.5),
        trial("evolutionary", "alone", 64),
    ]
    rows = {row["layer"]: row for row in same_runtime(trials, tmp_path)}
    assert set(rows) == {"a", "b", "nothing runs"}
    assert rows["a"]["reached"]
    assert rows["a"]["evolution_seconds"] == 4.0
    assert rows["a"]["evolution_ms"] == 1.5
    assert rows["a"]["ratio"] == pytest.approx(40)
    assert not rows["b"]["reached"]
    assert rows["b"]["evolution_seconds"] == 50.0
    assert rows["b"]["ratio"] == pytest.approx(100)
    assert not rows["nothing runs"]["reached"]
    assert rows["nothing runs"]["evolution_ms"] is None


@pytest.mark.slow
def test_a_study_compares_searches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layer = "matmul 128x256x512"
    options = ["--methods", "beam", "evolutionary", "--layers", layer, "--trials", "3", "--json"]
    assert main(["value-learning", "search", *options, "--run-dir", str(tmp_path / "study")]) == 0
    found = json.loads(capsys.readouterr().out)
    (row,) = found["same_runtime"]
    assert row["layer"] == layer
    assert row["ratio"] == pytest.approx(row["evolution_seconds"] / row["beam_seconds"])
    assert found["search_speedup"] == pytest.approx(row["ratio"])
    assert found["not_reached"] == (not row["reached"])
    summary = json.loads((tmp_path / "study" / "summary.json").read_text())
    assert summary["search_speedup"] == found["search_speedup"]
    assert (tmp_path / "study" / "tables" / "time to the same runtime.json").exists()
