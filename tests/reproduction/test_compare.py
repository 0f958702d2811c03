"""From runs to rows, on small made runs: what each block says of them."""

import pytest

from mlsys_ray.cluster.run_directory import RunDirectory
from mlsys_ray.cluster.run_reader import load_run
from mlsys_ray.reproduction import plan
from mlsys_ray.reproduction.base import worst

BLOCKS = {block.name: block for block in plan("laptop").blocks}


@pytest.fixture
def make(tmp_path):
    """Makes a finished run with tables and metrics."""

    def made(name, *, tables=None, metrics=(), summary=None):
        with RunDirectory.create(tmp_path / name, {}, experiment="made") as run:
            for row in metrics:
                run.log(row)
            for title, rows in (tables or {}).items():
                run.save_table(title, rows)
            run.finish(summary or {})
        return load_run(tmp_path / name)

    return made


def by_place(rows):
    return {(row.group, row.series): row for row in rows}


def test_speeds_are_medians_of_ratios_within_rounds(make):
    metrics = [
        {"sequential_ms": 10 * load, "greedy_ms": 12 * load, "ios_both_ms": 5 * load}
        | {"ios_merge_ms": 6 * load, "ios_parallel_ms": 9.7 * load, "ios_mixed_ms": 4 * load}
        | {"eager_ms": 16 * load, "openvino_ms": 4.4 * load}
        for load in (1, 5, 2)
    ]
    runs = {"ios-compare-squeezenet": make("compare", metrics=metrics)}
    rows = by_place(BLOCKS["ios-figure-6"].compare(runs))
    assert rows["SqueezeNet", "IOS-Both"].here == pytest.approx(2)
    assert rows["SqueezeNet", "IOS-Both"].status == "in shape"
    assert rows["SqueezeNet", "IOS-Merge"].status == "in shape"
    assert rows["SqueezeNet", "IOS-Parallel"].status == "replicated"
    assert rows["SqueezeNet", "Greedy"].status == "replicated"
    assert rows["SqueezeNet", "IOS-Mixed"].status is None
    rows = by_place(BLOCKS["ios-figure-7"].compare(runs))
    assert rows["SqueezeNet", "best other tool"].here == pytest.approx(1.1)
    assert rows["SqueezeNet", "best other tool"].status == "replicated"
    assert rows["SqueezeNet", "eager"].here == pytest.approx(4)


@pytest.mark.parametrize(("longest", "status"), [(8.0, "replicated"), (3.0, "in shape")])
def test_pruning_is_relative_to_the_least(make, longest, status):
    searches = [
        {"r": r, "s": s, "gain": 1.0, "search_seconds": seconds}
        for (r, s), seconds in {(1, 3): 1.0, (3, 8): longest}.items()
    ]
    failed = {"r": 2, "s": 3, "gain": None, "search_seconds": None}
    runs = {"ios-pruning": make("study", tables={"searches": [*searches, failed]})}
    rows = by_place(BLOCKS["ios-figure-9"].compare(runs))
    assert rows["r = 3, s = 8", "search time"].status == status
    assert rows["r = 3, s = 8", "speed"].here == 1
    assert rows["r = 2, s = 3", "speed"].status == "failed"
    assert rows["r = 1, s = 3", "speed"].status is None


def test_time_shares(make):
    parts = {"seconds_compute": 6.54, "seconds_communication": 1.0, "seconds_vote": 1.18}
    metrics = [{**parts, "seconds_aggregation": 8.0}] * 2
    run = make("train", metrics=metrics)
    steps = BLOCKS["byzshield-figure-12"].steps
    rows = by_place(BLOCKS["byzshield-figure-12"].compare(dict.fromkeys(steps, run)))
    assert sum(row.here for (method, _), row in rows.items() if method == "Median") == 100
    assert rows["ByzShield", "aggregation"].here == pytest.approx(100 * 9.18 / 16.72)
    assert rows["ByzShield", "communication"].status == "not replicated"


@pytest.mark.parametrize(
    ("ppo", "dqn", "status"),
    [(1.5, 1.2, "in shape"), (1.3, 1.2, "not replicated"), (1.5, None, "failed")],
)
def test_one_agent_that_is_worse_than_a_rule_is_enough(make, ppo, dqn, status):
    table = [
        {"algorithm": name, "par": par, "least_requested": 1.4}
        for name, par in (("ppo", ppo), ("dqn", dqn))
    ]
    runs = {"fireplace-agents": make("agents", tables={"PAR on a held-out trace": table})}
    rows = BLOCKS["fireplace-agents"].compare(runs)
    assert worst(rows) == status
    assert by_place(rows)["PPO", "more PAR - 1 than least requested"].here == pytest.approx(
        100 * ((ppo - 1) / 0.4 - 1)
    )


@pytest.mark.parametrize(("less", "status"), [(9.9, "not replicated"), (31.0, "in shape")])
def test_placements_must_be_better_by_a_tenth(make, less, status):
    policies = [
        {"policy": name, "excess_reduction": less, "excess_reduction_half_width": 2.0}
        for name in ("fireplace", "certainty_equivalent", "learned_mixture", "random")
    ]
    block = BLOCKS["fireplace-better"]
    runs = dict.fromkeys(block.steps, make("evaluate", tables={"policies": policies}))
    rows = block.compare(runs)
    assert worst(rows) == status
    assert {row.group for row in rows} == {"microvm", "microvm-short", "openb+planetlab"}


def test_leads_of_byzshield(make):
    accuracies = [
        {"figure": 2, "attack": "alie", "K": 25, "q": 3, **row}
        for row in (
            {"method": "ByzShield", "paper": 65.7, "here": 70.0},
            {"method": "Median", "paper": 38.0, "here": 45.0},
            {"method": "DETOX-MoM", "paper": 47.6, "here": 80.0},
            {"method": "Bulyan", "paper": 47.6, "here": None},
        )
    ]
    runs = {"byzshield-figures": make("all", tables={"accuracy, paper and here": accuracies})}
    rows = {row.group: row for row in BLOCKS["byzshield-figure-2"].compare(runs)}
    assert rows["ByzShield, q = 3"].status is None
    assert rows["Median, q = 3"].status == "replicated"
    assert rows["DETOX-MoM, q = 3"].status == "not replicated"
    assert "by -10.0 here" in rows["DETOX-MoM, q = 3"].note
    assert rows["Bulyan, q = 3"].status == "failed"
