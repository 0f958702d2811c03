import io
import json
import math

import pytest
from rich.console import Console

from mlsys_ray.cli.console import UsageError
from mlsys_ray.cli.report import Compare
from mlsys_ray.report.compare import compare
from mlsys_ray.report.compare_table import comparison_table


@pytest.fixture
def make_group(make_run):
    """Writes one run a value of the metrics, which have equally many."""

    def make(rule, **metrics):
        runs = []
        for seed, values in enumerate(zip(*metrics.values(), strict=True)):
            config = {"rule": rule, "seed": seed, "run_dir": f"runs/{rule}-{seed}"}
            summary = dict(zip(metrics, values, strict=True))
            runs.append(make_run(f"{rule}-{seed}", config, summary=summary))
        return runs

    return make


def metric(comparison, name):
    return next(metric for metric in comparison.metrics if metric.name == name)


def test_medians_spread_and_ratios(make_group):
    median = make_group("median", test_accuracy=[0.4, 0.5, 0.45], vote_seconds=[1.0, 4.0, 2.0])
    shield = make_group("shield", test_accuracy=[0.9, 0.8, 0.95], vote_seconds=[3.0, 8.0, 4.0])
    comparison = compare([*median, *shield])
    assert [group.name for group in comparison.groups] == ["rule=median", "rule=shield"]
    assert comparison.groups[0].seeds == [0, 1, 2]
    assert comparison.groups[1].config == {"rule": "shield"}
    assert comparison.groups[1].runs == [str(run) for run in shield]

    first, second = metric(comparison, "test_accuracy").cells
    assert (first.median, first.minimum, first.ratio, first.noise) == (0.45, 0.4, None, None)
    assert first.half_range == pytest.approx(0.05)
    assert second.ratio == pytest.approx(2.0)
    assert (second.noise, second.chance) == ("outside", 0.1)

    second = metric(comparison, "vote_seconds").cells[1]
    assert second.ratio == pytest.approx(2.0)
    assert second.noise == "inside"  # 1 .. 4 and 3 .. 8


def test_the_geometric_mean_counts_improvements(make_group):
    metrics = ["accuracy", "seconds", "num_files", "loss"]
    first = make_group("a", **dict(zip(metrics, [[0.2], [4.0], [10], [0.0]], strict=True)))
    second = make_group("b", **dict(zip(metrics, [[0.8], [1.0], [90], [1.0]], strict=True)))
    runs = [*first, *second]
    for run in runs:
        pin_wall_time(run, 1.0)
    group = compare(runs).groups[1]
    # accuracy 4 times better, seconds 4 times, wall_seconds the same; num_files has no direction,
    # the ratio of losses none because the first is 0.
    assert group.num_improvements == 3
    assert group.improvement == pytest.approx(16 ** (1 / 3))
    assert compare(reversed(runs)).groups[1].improvement == pytest.approx(16 ** (-1 / 3))


def pin_wall_time(run, seconds):
    file = run / "summary.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"wall_seconds": seconds}))


def test_one_run_a_group_tells_nothing_about_noise(make_group):
    cell = metric(compare(make_group("a", loss=[1.0]) + make_group("b", loss=[9.0])), "loss")
    assert cell.cells[0].half_range is None
    assert (cell.cells[1].ratio, cell.cells[1].noise, cell.cells[1].chance) == (9, "unknown", None)


def test_equal_values_are_inside_the_noise(make_group):
    runs = make_group("a", epsilon=[0.04, 0.04]) + make_group("b", epsilon=[0.04, 0.04])
    assert metric(compare(runs), "epsilon").cells[1].noise == "inside"


def test_values_that_are_not_finite_give_no_verdict(make_group):
    runs = make_group("a", loss=[1.0, 2.0]) + make_group("b", loss=[math.nan, 3.0])
    cell = metric(compare(runs), "loss").cells[1]
    assert math.isnan(cell.median)
    assert (cell.ratio, cell.noise) == (None, "unknown")


def test_experiments_do_not_mix(make_run):
    runs = [
        make_run("a", experiment="ios", summary={"latency": 2.0}),
        make_run("b", experiment="fireplace", summary={"par": 1.5}),
    ]
    comparison = compare(runs)
    assert [group.name for group in comparison.groups] == [
        "experiment=ios",
        "experiment=fireplace",
    ]
    assert metric(comparison, "latency").cells[1] is None
    assert metric(comparison, "par").cells[0] is None


def test_only_finished_runs_count(make_run, tmp_path):
    runs = [
        make_run("good", summary={"loss": 1.0}),
        make_run("bad", summary={"loss": 2.0}, status="interrupted"),
        tmp_path / "absent",
    ]
    comparison = compare(runs)
    assert metric(comparison, "loss").cells[0].values == [1.0]
    assert comparison.left_out == {
        str(runs[1]): "its status is interrupted",
        str(runs[2]): f"run directory {runs[2]} does not exist",
    }


def test_the_table_marks_what_is_better_and_what_is_noise(make_group, make_run):
    first = make_group("a", accuracy=[0.4, 0.41, 0.42], loss=[1.0, 2.0, 3.0])
    second = make_group("[b]", accuracy=[0.8, 0.81, 0.82], loss=[2.0, 2.5, 3.0])
    broken = make_run("broken", status="failed")
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(comparison_table(compare([*first, *second, broken])))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line for line in lines if "rule=[b]" in line]
    assert "0.81 ± 0.01" in rows[0]
    assert "better (luck 10%)" in rows[0]
    assert "inside the noise" in rows[1]
    assert any("left out:" in line for line in lines)


def test_the_command_prints_json_on_stdout_and_tables_on_stderr(make_group, capsys, tmp_path):
    runs = tuple(make_group("a", loss=[1.0, 2.0]))
    assert Compare(runs=runs).run() == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "1.5 ± 0.5" in shown.err
    assert Compare(runs=(*runs, tmp_path / "absent"), json=True).run() == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out)["metrics"][0]["cells"][0]["median"] == 1.5
    with pytest.raises(UsageError, match="one run directory or more"):
        Compare(runs=()).run()
