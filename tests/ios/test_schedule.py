import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mlsys_ray.ios.blocks import blocks_of
from mlsys_ray.ios.capture import capture
from mlsys_ray.ios.engines.pytorch import PyTorchEngine
from mlsys_ray.ios.schedule import Schedule, digest, load_schedule, stages_of
from mlsys_ray.ios.search.baselines import greedy, sequential
from mlsys_ray.ios.search.counts import within
from mlsys_ray.ios.search.endings import stage_space


class Cells(nn.Module):
    """Branches that meet, twice."""

    def __init__(self, channels=4):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(8))

    def forward(self, x):
        for a, b, c, d in (self.convs[:4], self.convs[4:]):
            left = torch.relu(a(x))
            right = torch.relu(b(x))
            x = torch.sigmoid(c(left)) + d(right) * 0.5 + right
        return x, left


@pytest.fixture(scope="module")
def graph():
    torch.manual_seed(0)
    return capture(Cells().eval(), [torch.randn(1, 4, 9, 9)]).graph


def schedule_of(graph, masks_of):
    stages = ()
    for block in blocks_of(graph):
        stages += stages_of(graph, block, masks_of(within(graph, block)))
    return Schedule(
        graph=digest(graph), device="here", batch_size=1, versions={"torch": "0"}, stages=stages
    )


def assert_runs(graph, schedule):
    x = torch.randn(1, 4, 9, 9)
    with PyTorchEngine(graph, schedule) as engine:
        for expected, found in zip(graph.run(x), engine(x), strict=True):
            torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("baseline", [sequential, greedy])
def test_baselines_compute_what_the_graph_does(graph, baseline):
    assert_runs(graph, schedule_of(graph, baseline))


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_any_schedule_of_the_space_computes_what_the_graph_does(graph, data):
    def drawn(predecessors):
        space = stage_space(predecessors)
        state, masks = 0, []
        while state >= 0:
            options = range(space.first[state], space.first[state + 1])
            transition = data.draw(st.sampled_from(options))
            masks.append(int(space.stages[space.ending[transition]]))
            state = int(space.rest[transition])
        return masks[::-1]

    assert_runs(graph, schedule_of(graph, drawn))


def test_an_error_in_a_group_comes_out(graph):
    with (
        PyTorchEngine(graph, schedule_of(graph, greedy)) as engine,
        pytest.raises(RuntimeError, match="channels"),
    ):
        engine(torch.randn(1, 5, 9, 9))


def test_a_file_gives_the_schedule_back(graph, tmp_path):
    schedule = schedule_of(graph, greedy)
    path = tmp_path / "schedule.json"
    schedule.save(path)
    assert load_schedule(path) == schedule
    whole = path.read_text()
    for damaged in (whole[:50], whole.replace('"stages"', '"steps"'), "[]", "{}"):
        path.write_text(damaged)
        with pytest.raises(ValueError, match="is damaged"):
            load_schedule(path)
    path.write_text(json.dumps({"format": "another"}))
    with pytest.raises(ValueError, match="is not a schedule"):
        load_schedule(path)
    with pytest.raises(ValueError, match="does not exist"):
        load_schedule(tmp_path / "none.json")


def test_a_schedule_that_does_not_fit_is_refused(graph):
    schedule = schedule_of(graph, sequential)
    other = capture(Cells().eval(), [torch.randn(1, 4, 8, 9)]).graph
    with pytest.raises(ValueError, match="another model, or other input shapes"):
        PyTorchEngine(other, schedule)
    stages = schedule.stages
    wrong = {
        "leaves": stages[:-1],
        "has run already": (*stages, stages[0]),
        "is no operator": ((("nothing",),), *stages),
        "before or beside": stages[::-1],
        "beside": ((*stages[0], *stages[1], *stages[2], *stages[3], *stages[4]), *stages[5:]),
    }
    for message, changed in wrong.items():
        with pytest.raises(ValueError, match=message):
            PyTorchEngine(graph, replace(schedule, stages=changed))


def test_a_digest_tells_graphs_apart_but_not_weights(graph):
    torch.manual_seed(1)
    same = capture(Cells().eval(), [torch.randn(1, 4, 9, 9)]).graph
    assert digest(same) == digest(graph)
    wider = capture(Cells(6).eval(), [torch.randn(1, 6, 9, 9)]).graph
    assert digest(wider) != digest(graph)
