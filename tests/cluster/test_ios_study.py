import json
from dataclasses import replace
from pathlib import Path

import pytest

from mlsys_ray.cli.main import main
from mlsys_ray.cluster.ios_study import SearchConfig, expand, search_path
from mlsys_ray.ios.schedule import load_schedule


def test_axes_are_combined_around_the_base_point():
    base = SearchConfig(num_threads=1)
    configs = expand(base, ["squeezenet", "resnet18"], [1, 4], [], [(1, 3), (3, 8)])
    assert len(set(configs)) == len(configs) == 8
    assert {c.strategy for c in configs} == {base.strategy}
    assert {(c.max_group_size, c.max_groups) for c in configs} == {(1, 3), (3, 8)}
    assert expand(base, [], [], [], []) == [base]
    assert len({search_path(Path("trials"), config) for config in configs}) == 8


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"network": "alexnet"}, "accepted: inception_v3"), ({"batch_size": 0}, "batch_size must be")],
)
def test_wrong_searches_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        replace(SearchConfig(), **wrong)


@pytest.mark.slow
def test_a_study_searches_runs_at_other_batch_sizes_and_goes_on_where_it_was(tmp_path, capsys):
    options = ["--networks", "squeezenet", "--batch-sizes", "1", "2", "--strategies", "ios_merge"]
    options += ["--group-sizes", "1", "--num-threads", "1"]
    command = ["ios", "study", *options, "--run-dir", str(tmp_path / "study"), "--json"]
    assert main(command) == 0
    first = json.loads(capsys.readouterr().out)
    assert [row["batch_size"] for row in first["searches"]] == [1, 2]
    assert all(row["min_ms"] > 0 and row["gain"] > 0 for row in first["searches"])
    for row in first["specialisation"]:
        assert {"for_1_min_ms", "for_2_min_ms"} <= set(row)
    files = sorted((tmp_path / "study" / "trials").glob("squeezenet-*-ios_merge-*/schedule.json"))
    assert sorted(load_schedule(file).batch_size for file in files) == [1, 2]
    assert main(command) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["searches"] == first["searches"]
    files[0].with_name("summary.json").unlink()
    assert main(command) == 0
    third = json.loads(capsys.readouterr().out)
    rerun = [a != b for a, b in zip(third["searches"], first["searches"], strict=True)]
    assert sorted(rerun) == [False, True]
