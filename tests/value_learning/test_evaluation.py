from __future__ import annotations

import math

import pytest

from mlsys_ray.value_learning.baselines.autoscheduler import DEFAULT_BEAM, autoschedulers
from mlsys_ray.value_learning.baselines.compare import Row
from mlsys_ray.value_learning.evaluation import LayerResult, as_record, summarise


def row(name: str, ms: float) -> Row:
    return Row(name=name, min_ms=ms, median_ms=2 * ms, runs=3, search_seconds=10 * ms)


def test_a_record_has_the_better_layout_of_each_contender() -> None:
    rows = (
        row("value", 1.0),
        row("li2018", 4.0),
        row("li2018 planar", 3.0),
        Row(name=DEFAULT_BEAM, failed="not done in time"),
    )
    record = as_record(LayerResult("conv", 100, 0.9, 0.1, rows))
    assert record["li2018_ms"] == 3.0
    assert record["li2018_median_ms"] == 6.0
    assert record["li2018_search_seconds"] == 30.0
    assert record["search_seconds"] == 0.1
    assert record[f"{DEFAULT_BEAM}_ms"] == "failed: not done in time"
    assert f"{DEFAULT_BEAM}_search_seconds" not in record


def test_ratios_are_of_layers_on_which_both_worked() -> None:
    records = [
        {"value_ms": 1.0, "li2018_ms": 8.0, "adams2019_beam1_ms": 2.0, f"{DEFAULT_BEAM}_ms": 0.5},
        {"value_ms": 1.0, "li2018_ms": 2.0, "adams2019_beam1_ms": "failed: why"},
    ]
    found = summarise(records)
    assert found["geomean_vs_li2018"] == pytest.approx(4)
    assert found["geomean_vs_adams2019_beam1"] == pytest.approx(2)
    assert found["geomean_vs_best_autoscheduler"] == pytest.approx(2)
    assert found[f"geomean_vs_{DEFAULT_BEAM}"] == pytest.approx(0.5)
    assert found["geomean_vs_torch"] is None
    assert found["layers"] == 2


def test_the_default_beam_is_there_if_asked_for_with_time_enough() -> None:
    titles = {peer.title for peer in autoschedulers()}
    assert DEFAULT_BEAM not in titles
    ours = [peer for peer in autoschedulers(default_beam=True) if peer.title == DEFAULT_BEAM]
    assert {peer.layout for peer in ours} == {"channels_last", "planar"}
    for peer in ours:
        assert "beam_size" not in dict(peer.parameters)
        assert (peer.prepare_seconds or math.nan) > 300
