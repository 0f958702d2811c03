import math

import pytest
import torch
from torch import nn

from mlsys_ray.ios.agreement import DisagreementError, checked_difference
from mlsys_ray.ios.comparison import compare, our_variants
from mlsys_ray.ios.peers import MissingPeerError, Peer, PeerFailedError, PeerTask
from mlsys_ray.ios.plan import Settings


class Doubling(Peer):
    """Gives the input times a factor; twice is right."""

    version = "7"

    def __init__(self, factor, log=None):
        self.factor = factor
        self.log = [] if log is None else log

    def run(self, *inputs):
        return (inputs[0] * self.factor,)

    def close(self):
        self.log.append("closed")


class Double(nn.Module):
    def forward(self, x):
        return x * 2


@pytest.fixture
def task():
    return PeerTask(model=Double().eval(), example_inputs=[torch.randn(1, 3, 8, 8)], num_threads=1)


def missing(_):
    raise MissingPeerError("pip install it")


def failing(_):
    raise PeerFailedError("no such operator")


def crashing(_):
    raise RuntimeError("kernel died\nwith details")


def test_each_tool_has_its_row(task):
    log = []
    own = {
        "right": lambda _: Doubling(2, log),
        "nearly": lambda _: Doubling(2 + 1e-6, log),
        "wrong": lambda _: Doubling(2.01, log),
        "absent": missing,
        "unable": failing,
        "crashed": crashing,
    }
    found = compare(task, ["eager"], own, rounds=3)
    assert set(found.timings) == {"right", "nearly", "eager"}
    assert {len(timing.samples) for timing in found.timings.values()} == {3}
    assert found.missing == {"absent": "pip install it"}
    assert found.failed["unable"] == "no such operator"
    assert found.failed["crashed"] == "kernel died"
    assert "differs from the model's" in found.failed["wrong"]
    assert found.max_abs_difference["right"] == 0
    assert 0 < found.max_abs_difference["nearly"] < 1e-5
    assert found.versions["right"] == "7"
    assert log == ["closed"] * 3
    rows = {row["tool"]: row for row in found.rows()}
    assert set(rows) == set(own) | {"eager"}
    assert rows[found.fastest]["times_fastest"] == 1
    assert rows["absent"]["median_ms"] is None
    assert rows["absent"]["note"] == "pip install it"


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3, 8, k, padding=k // 2) for k in (1, 3, 5))

    def forward(self, x):
        return [torch.cat([conv(x).relu() for conv in self.convs], 1), x]


@pytest.mark.slow
def test_our_variants_compute_what_the_model_does():
    task = PeerTask(
        model=Branches().eval(), example_inputs=[torch.randn(1, 3, 8, 8)], num_threads=2
    )
    own = our_variants(task, ["greedy", "ios_both"], Settings())
    found = compare(task, [], own, rounds=1)
    assert set(found.timings) == set(own)
    assert "sequential" in own
    assert found.failed == {}


def test_nothing_that_runs_is_told_too(task):
    found = compare(task, [], {"absent": missing})
    assert found.timings == {}
    assert [row["note"] for row in found.rows()] == ["pip install it"]


def test_outputs_are_judged_by_the_models_largest_value():
    wanted = [torch.tensor([1000.0, 0.0])]
    assert checked_difference([torch.tensor([1000.0, 0.09])], wanted) == pytest.approx(0.09)
    with pytest.raises(DisagreementError, match="output 0 differs"):
        checked_difference([torch.tensor([1000.0, 0.11])], wanted)
    with pytest.raises(DisagreementError, match="output 0 differs"):
        checked_difference([torch.tensor([1000.0, math.nan])], wanted)
    with pytest.raises(DisagreementError, match="shapes"):
        checked_difference([torch.tensor([1000.0])], wanted)
    with pytest.raises(DisagreementError, match="shapes"):
        checked_difference([*wanted, *wanted], wanted)
