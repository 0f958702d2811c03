import json
import threading
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mlsys_ray.ios import optimization as optimize_module
from mlsys_ray.ios import optimize
from mlsys_ray.ios.bounds import NOISE, share_out, splits, stage_bounds
from mlsys_ray.ios.capture import capture
from mlsys_ray.ios.cost_cache import CostCache
from mlsys_ray.ios.engines.onednn.binding import loaded
from mlsys_ray.ios.forecast import Forecast, duration
from mlsys_ray.ios.optimization import PeerModule, find
from mlsys_ray.ios.peers import PeerFailedError
from mlsys_ray.ios.plan import VARIANTS, Settings
from mlsys_ray.ios.search.dynamic_programme import cheapest, search
from mlsys_ray.ios.search.endings import stage_space
from mlsys_ray.ios.stage_costs import StageCosts

needs_engine = pytest.mark.skipif(loaded() is None, reason="onednn-cpu-gomp is not installed")


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3)
        self.branches = nn.ModuleList(nn.Conv2d(16, 16, 1) for _ in range(3))
        self.deep = nn.Conv2d(16, 8, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.first(x))
        parts = [F.relu(branch(x)) for branch in self.branches]
        return {"joined": torch.cat([*parts, self.deep(parts[0])], 1), "mean": x.mean((2, 3))}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Branches().eval()


@needs_engine
def test_all_variants_are_found_measured_and_agree(model, tmp_path):
    x = torch.randn(1, 3, 24, 24)
    settings = Settings(num_threads=2, cache=tmp_path)
    found = find(model, capture(model, [x]), VARIANTS, settings)
    assert set(found.timings) == set(VARIANTS) == set(found.schedules)
    assert found.num_measured > 0
    assert max(len(stage) for stage in found.schedules["greedy"].stages) > 1
    assert all(len(stage) == 1 for stage in found.schedules["sequential"].stages)
    assert "concurrent" not in {
        strategy
        for stage, strategy in zip(
            found.schedules["ios_merge"].stages,
            found.schedules["ios_merge"].strategies,
            strict=True,
        )
        if len(stage) > 1
    }
    again = find(model, capture(model, [x]), VARIANTS, settings)
    assert again.num_measured == 0
    assert again.schedules == found.schedules


@needs_engine
def test_an_optimised_module_does_what_the_module_does_from_several_threads(model):
    x = torch.randn(2, 3, 24, 24)
    module = optimize(model, [x], settings=Settings(num_threads=2))
    wanted = model(x)
    outputs = []
    threads = [threading.Thread(target=lambda: outputs.append(module(x))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for found in outputs:
        assert set(found) == {"joined", "mean"}
        for name in wanted:
            torch.testing.assert_close(found[name], wanted[name], rtol=1e-4, atol=1e-5)
    module.close()


def test_the_fastest_of_ours_and_other_runtimes_is_returned(model, monkeypatch):
    pytest.importorskip("onnxruntime")
    x = torch.randn(1, 3, 24, 24)
    for fastest in ("sequential", "onnxruntime"):
        monkeypatch.setattr(optimize_module, "_fastest", lambda *_, name=fastest: name)
        module = optimize(
            model,
            [x],
            strategy="sequential",
            peers=["onnxruntime"],
            settings=Settings(num_threads=1),
        )
        assert isinstance(module, PeerModule) == (fastest == "onnxruntime")
        torch.testing.assert_close(module(x)["joined"], model(x)["joined"], rtol=1e-4, atol=1e-5)
        module.close()


def test_a_peer_that_cannot_run_the_module_is_left_out(model, monkeypatch):
    def fail(name, task):
        raise PeerFailedError("no such operator")

    monkeypatch.setattr(optimize_module, "prepare_peer", fail)
    said = []
    module = optimize(
        model,
        [torch.randn(1, 3, 24, 24)],
        strategy="sequential",
        peers=["openvino"],
        settings=Settings(num_threads=1),
        say=said.append,
    )
    assert any("openvino is left out: no such operator" in line for line in said)
    module.close()


def test_a_module_that_cannot_be_exported_runs_whole():
    class Odd(nn.Module):
        def forward(self, x):
            return x * 2 if float(x.sum()) > 0 else x - 1

    said = []
    x = torch.ones(1, 3, 4, 4)
    module = optimize(Odd().eval(), [x], settings=Settings(num_threads=1), say=said.append)
    assert any("could not be exported" in line for line in said)
    torch.testing.assert_close(module(x), x * 2)
    torch.testing.assert_close(module(-x), -x - 1)
    module.close()


def test_without_the_library_pytorch_runs_it(model, monkeypatch):
    monkeypatch.setattr(optimize_module.binding, "loaded", lambda: None)
    x = torch.randn(1, 3, 24, 24)
    said = []
    module = optimize(model, [x], say=said.append)
    assert any("library is missing" in line for line in said)
    torch.testing.assert_close(module(x)["joined"], model(x)["joined"], rtol=1e-4, atol=1e-5)
    module.close()


@needs_engine
def test_a_search_without_time_is_sequential(model):
    x = torch.randn(1, 3, 24, 24)
    settings = Settings(num_threads=2, budget_seconds=0.0)
    found = find(model, capture(model, [x]), ["ios_parallel"], settings)
    assert all(len(stage) == 1 for stage in found.schedules["ios_parallel"].stages)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_bounds_change_no_optimum(data):
    """Costs that obey the rule for noise, drawn; the search by bounds against all costs."""
    n = data.draw(st.integers(1, 6))
    predecessors = tuple(
        tuple(sorted(data.draw(st.sets(st.integers(0, i - 1), max_size=2)))) if i else ()
        for i in range(n)
    )
    full = np.array(data.draw(st.lists(st.floats(0.1, 1), min_size=n, max_size=n)))
    single = full * np.array(data.draw(st.lists(st.floats(1, 3), min_size=n, max_size=n)))
    workers = data.draw(st.integers(1, 4))
    space = stage_space(predecessors)
    bounds, exact = stage_bounds(np.asarray(space.stages), predecessors, full, single, workers)
    sequential = np.array(
        [sum(full[i] for i in range(n) if int(mask) >> i & 1) for mask in space.stages]
    )
    stretch = np.array(
        data.draw(st.lists(st.floats(1, 2), min_size=len(bounds), max_size=len(bounds)))
    )
    real = np.maximum(bounds * stretch, bounds)
    real = np.where(exact | (real > (1 - NOISE) * sequential), sequential, real)
    index = {int(mask): i for i, mask in enumerate(space.stages)}
    found = search(space, bounds, lambda masks: [real[index[m]] for m in masks], exact=exact)
    assert found.cost == pytest.approx(cheapest(space, real)[0])
    assert found.num_measured <= int((~exact).sum())


@given(
    st.integers(1, 4).flatmap(
        lambda groups: st.integers(1, 7).flatmap(
            lambda workers: st.lists(
                st.lists(st.floats(0.1, 10), min_size=workers, max_size=workers),
                min_size=groups,
                max_size=groups,
            )
        )
    )
)
def test_workers_are_split_in_promising_ways(rows):
    seconds = -np.sort(-np.array(rows), axis=1)
    num_groups, num_workers = seconds.shape
    ways = splits(seconds, 3)
    assert 1 <= len(ways) <= 3
    assert all(way not in ways[:number] for number, way in enumerate(ways))
    assert ways[-1] == [range(num_workers)] * num_groups
    for way in ways:
        assert len(way) == num_groups
        assert {worker for share in way for worker in share} == set(range(num_workers))
    if num_groups > num_workers:
        assert all(len(share) == 1 for share in ways[0])
        return

    def slowest(widths):
        return max(seconds[group, width - 1] for group, width in enumerate(widths))

    compositions = [
        widths
        for widths in product(range(1, num_workers + 1), repeat=num_groups)
        if sum(widths) == num_workers
    ]
    best = [len(share) for share in ways[0]]
    assert slowest(best) == min(map(slowest, compositions))


@needs_engine
def test_a_split_of_the_workers_is_searched_and_kept(model, monkeypatch):
    """Costs by which both threads for each group win: the schedule says so."""
    x = torch.randn(1, 3, 24, 24)
    asked = []

    def seconds(self, ways, kernels, within):
        alone = self.seconds_of(ways[0].operators, kernels)
        asked.append(len(ways))
        return [
            0.6 * alone if all(len(g.workers) == 2 for g in way.groups) else 0.7 * alone
            for way in ways
        ]

    monkeypatch.setattr(StageCosts, "stage_seconds", seconds)
    found = find(model, capture(model, [x]), ["ios_parallel"], Settings(num_threads=2))
    schedule = found.schedules["ios_parallel"]
    shares = [w for s, w in zip(schedule.stages, schedule.workers, strict=True) if len(s) > 1]
    assert shares
    assert all(share == (0, 2) for stage in shares for share in stage)
    assert min(asked) >= 2
    assert found.differences["ios_parallel"] < 1e-4


def test_a_forecast_follows_what_blocks_took():
    forecast = Forecast([1000, 1000], [1.0, 2.0])
    assert forecast.left() == pytest.approx(0.02 * 3000)
    forecast.measured(0, 100, 200.0)
    forecast.finished(0)
    # A tenth of the stages were measured, in twice the time.
    assert 2 * 2.0 * 50 < forecast.left() < 2 * 2.0 * 100
    forecast.measured(1, 1000, 4000.0)
    assert forecast.left() == 0
    assert [duration(x) for x in (0.2, 30, 600, 36000)] == [
        "less than a second",
        "30 s",
        "10 min",
        "10.0 h",
    ]


@needs_engine
def test_a_search_that_is_stopped_gives_what_it_has_and_keeps_no_half_measurements(model, tmp_path):
    x = torch.randn(1, 3, 24, 24)
    settings = Settings(num_threads=2, cache=tmp_path)
    found = find(model, capture(model, [x]), ["ios_mixed"], settings, stopped=lambda: True)
    assert all(len(stage) == 1 for stage in found.schedules["ios_mixed"].stages)
    assert not found.schedules["sequential"].stopped_early
    again = find(model, capture(model, [x]), ["ios_mixed"], settings)
    assert again.num_measured > 0
    assert not again.schedules["ios_mixed"].stopped_early


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=9), st.integers(1, 12))
def test_every_group_has_workers_and_no_worker_waits(work, num_workers):
    shares = share_out(work, num_workers)
    assert len(shares) == len(work)
    used = sorted(worker for share in shares for worker in share)
    assert set(used) == set(range(num_workers))
    if len(work) <= num_workers:
        assert used == list(range(num_workers))
    else:
        assert all(len(share) == 1 for share in shares)


def test_costs_are_kept_by_context_and_damaged_files_are_measured_anew(tmp_path):
    cache = CostCache(tmp_path, {"device": "a"})
    cache.add({"x": 1.5})
    cache.save()
    assert CostCache(tmp_path, {"device": "a"})["x"] == 1.5
    assert "x" not in CostCache(tmp_path, {"device": "b"})
    (path,) = tmp_path.glob("*.json")
    path.write_text(json.dumps({"seconds": "?"})[:-3])
    assert "x" not in CostCache(tmp_path, {"device": "a"})
