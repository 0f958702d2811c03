"""The CPU engine computes what the graph does: any network, kernel, stage, batch, with and without
a compiler."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mlsys_ray.ios.capture import capture
from mlsys_ray.ios.engines.onednn import engine as engine_module
from mlsys_ray.ios.engines.onednn import runtime as runtime_module
from mlsys_ray.ios.engines.onednn.binding import loaded
from mlsys_ray.ios.engines.onednn.engine import OneDNNEngine
from mlsys_ray.ios.engines.onednn.network import Network
from mlsys_ray.ios.engines.onednn.runtime import Pool, native
from mlsys_ray.ios.networks import NETWORKS
from mlsys_ray.ios.schedule import Schedule, digest

pytestmark = pytest.mark.skipif(loaded() is None, reason="onednn-cpu-gomp is not installed")
LIMIT = 1e-4


def one_by_one(graph, **more):
    return Schedule(
        graph=digest(graph),
        device="here",
        batch_size=1,
        versions={},
        stages=tuple(((operator.name,),) for operator in graph.operators),
        **more,
    )


def assert_same(found, expected):
    assert len(found) == len(expected)
    for own, wanted in zip(found, expected, strict=True):
        assert own.shape == wanted.shape
        assert float((own - wanted).abs().max()) <= LIMIT * float(wanted.abs().max())


def assert_runs(module, x, schedule_of=one_by_one, num_workers=2):
    graph = capture(module.eval(), [x]).graph
    fresh = torch.randn_like(x)
    with OneDNNEngine(graph, schedule_of(graph), num_workers) as engine:
        for _ in range(2):
            assert_same(engine(fresh), graph.run(fresh))
        assert_same(engine(x), graph.run(x))


def with_kernel(kernel):
    """Each operator by a kernel where it can be computed so."""

    def schedule_of(graph):
        pool = Pool(1, native())
        network = Network(graph, pool, [(0, 0)] * len(graph.operators))
        kernels = {}
        for number, operator in enumerate(graph.operators):
            fitting = [v for v in network.variants(number) if v.startswith(kernel)]
            if fitting:
                kernels[operator.name] = fitting[-1]
        network.close()
        pool.close()
        if not kernels:
            pytest.skip(f"no operator can be computed by {kernel}")
        return one_by_one(graph, kernels=kernels)

    return schedule_of


class Pieces(nn.Module):
    """Channels that fill no block, concatenations of them, sums, pools, and a linear layer."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 10, 3, stride=2, padding=1)
        self.a = nn.Conv2d(10, 5, 1)
        self.b = nn.Conv2d(10, 12, (1, 7), padding=(0, 3))
        self.depthwise = nn.Conv2d(17, 17, 3, padding=1, groups=17)
        self.norm = nn.BatchNorm2d(17)
        self.grouped = nn.Conv2d(34, 6, 3, groups=2)
        self.last = nn.Linear(6, 4)

    def forward(self, x):
        x = F.relu(self.first(x))
        both = torch.cat((self.a(x), F.silu(self.b(x))), 1)
        deep = self.norm(F.relu(both)) + 0.5 * self.depthwise(both)
        x = torch.cat((F.max_pool2d(deep, 3, 1, 1), F.avg_pool2d(deep, 3, 1, 1)), 1)
        x = self.grouped(x)
        return self.last(F.adaptive_avg_pool2d(x, 1).flatten(1)), both, x.softmax(1)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_a_network_of_odd_pieces(batch, num_workers):
    torch.manual_seed(0)
    assert_runs(Pieces(), torch.randn(batch, 3, 20, 17), num_workers=num_workers)


def test_without_a_compiler(monkeypatch):
    monkeypatch.setattr(engine_module, "native", lambda: None)
    torch.manual_seed(0)
    assert_runs(Pieces(), torch.randn(2, 3, 20, 17))


def test_an_input_that_is_used_as_it_is_and_leaves():
    class Inputs(nn.Module):
        def forward(self, x):
            return F.relu(x) + x, F.max_pool2d(x, 2), x * 2

    assert_runs(Inputs(), torch.randn(1, 20, 8, 8))


@pytest.mark.skipif(native() is None, reason="no compiler")
@settings(max_examples=40, deadline=None)
@given(
    kernel=st.sampled_from([(3, 3), (3, 1), (1, 3), (7, 1), (1, 7), (5, 5)]),
    channels=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size=st.tuples(st.integers(7, 30), st.integers(7, 30)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    batch=st.integers(1, 2),
    relu=st.booleans(),
)
def test_winograd(kernel, channels, size, padding, batch, relu):
    conv = nn.Conv2d(*channels, kernel, padding=padding)
    # The input of a first convolution is read as it is; this one's is in blocks.
    module = nn.Sequential(nn.MaxPool2d(1), conv, nn.ReLU() if relu else nn.Identity())
    assert_runs(module, torch.randn(batch, channels[0], *size), with_kernel("winograd"))


@pytest.mark.skipif(native() is None, reason="no compiler")
@settings(max_examples=40, deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    channels=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size=st.tuples(st.integers(13, 30), st.integers(13, 30)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 2)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    plain=st.booleans(),
)
def test_direct(kernel, channels, size, stride, padding, dilation, plain):
    inputs = min(channels[0], 4) if plain else channels[0]
    # Pointwise ones are fused's.
    assume(plain or kernel != (1, 1))
    conv = nn.Conv2d(inputs, channels[1], kernel, stride=stride, padding=padding, dilation=dilation)
    module = nn.Sequential(nn.Identity() if plain else nn.MaxPool2d(1), conv)
    assert_runs(module, torch.randn(1, inputs, *size), with_kernel("direct"))


class Chain(nn.Module):
    """A sum of inputs, and what follows on it."""

    def __init__(self, *steps):
        super().__init__()
        self.steps = nn.Sequential(*steps)

    def forward(self, x):
        return self.steps(x + 0.5 * F.max_pool2d(x, 3, 1, 1) - F.avg_pool2d(x, 3, 1, 1))


@pytest.mark.skipif(native() is None, reason="no compiler")
@settings(max_examples=40, deadline=None)
@given(
    kernel=st.tuples(st.sampled_from([1, 2, 3, 5, 7]), st.sampled_from([3, 5, 7])),
    channels=st.integers(2, 40),
    outputs=st.integers(0, 40),
    size=st.tuples(st.integers(7, 30), st.integers(7, 30)),
    stride=st.integers(1, 2),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    batch=st.integers(1, 2),
    before=st.sampled_from([nn.Identity(), nn.ReLU(), nn.ReLU6()]),
    after=st.sampled_from([nn.Identity(), nn.ReLU(), nn.ReLU6()]),
    way=st.sampled_from(["1", "whole"]),
)
def test_fused_depthwise(
    kernel, channels, outputs, size, stride, padding, batch, before, after, way
):
    conv = nn.Conv2d(channels, channels, kernel, stride=stride, padding=padding, groups=channels)
    pointwise = nn.Conv2d(channels, outputs, 1) if outputs else nn.Identity()
    # What is between the two would keep them apart.
    after = nn.ReLU() if outputs else after
    kernels = with_kernel(f"fused/{way if outputs else 'whole'}")
    module = Chain(before, conv, pointwise, after)
    assert_runs(module, torch.randn(batch, channels, *size), kernels)


@pytest.mark.skipif(native() is None, reason="no compiler")
@settings(max_examples=40, deadline=None)
@given(
    channels=st.sampled_from([2, 16, 40, 300, 530]),
    outputs=st.integers(1, 100),
    size=st.tuples(st.integers(3, 30), st.integers(3, 30)),
    stride=st.integers(1, 3),
    shift=st.tuples(*[st.integers(-2, 2)] * 4),
    batch=st.integers(1, 2),
    summed=st.booleans(),
    before=st.sampled_from([nn.Identity(), nn.ReLU(), nn.ReLU6()]),
    after=st.sampled_from([nn.Identity(), nn.ReLU(), nn.ReLU6()]),
)
def test_fused_pointwise(channels, outputs, size, stride, shift, batch, summed, before, after):
    conv = nn.Conv2d(channels, outputs, 1, stride=stride, padding=int(min(shift) >= 0))
    steps = (before, nn.ZeroPad2d(shift), conv, after)
    module = Chain(*steps) if summed else nn.Sequential(nn.MaxPool2d(1), *steps)
    assume(min(size) > 4 or min(shift) >= 0)
    assert_runs(module, torch.randn(batch, channels, *size), with_kernel("fused/whole"))


@pytest.mark.skipif(native() is None, reason="no compiler")
@pytest.mark.parametrize("shift", [(1, 2, 0, 3), (-1, 1, 2, -2)])
def test_a_padding_by_itself(shift):
    module = Chain(nn.ReLU(), nn.ZeroPad2d(shift), nn.MaxPool2d(2))
    assert_runs(module, torch.randn(2, 37, 9, 11))
    assert_runs(module, torch.randn(2, 37, 9, 11), with_kernel("fused"))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "squeezenet" else pytest.mark.slow)
        for name in NETWORKS
    ],
)
@pytest.mark.parametrize("kernel", ["onednn", "direct", "winograd", "fused"])
def test_networks(built, name, kernel):
    _, x, captured = built(name)
    graph = captured.graph
    schedule = with_kernel(kernel)(graph)
    with OneDNNEngine(graph, schedule, 2) as engine:
        assert_same(engine(x), graph.run(x))


def test_another_shape_is_refused():
    graph = capture(nn.Conv2d(3, 4, 3).eval(), [torch.randn(1, 3, 9, 9)]).graph
    with (
        OneDNNEngine(graph, one_by_one(graph), 1) as engine,
        pytest.raises(ValueError, match="this schedule is for"),
    ):
        engine(torch.randn(1, 3, 8, 9))


def test_unknown_kernels_and_too_many_threads_are_refused():
    graph = capture(nn.Conv2d(3, 4, 3).eval(), [torch.randn(1, 3, 9, 9)]).graph
    (name,) = graph.index
    with pytest.raises(ValueError, match="accepted are onednn/1"):
        OneDNNEngine(graph, one_by_one(graph, kernels={name: "magic/1"}), 1)
    with pytest.raises(ValueError, match="there are 1"):
        OneDNNEngine(graph, one_by_one(graph, workers=(((1, 1),),)), 1)


def test_a_compiler_that_fails_or_is_missing_is_no_error(monkeypatch, tmp_path):
    monkeypatch.setattr(runtime_module, "cache_dir", lambda: tmp_path)
    monkeypatch.setenv("CXX", "false")
    with pytest.warns(RuntimeWarning, match="cannot be compiled"):
        assert native.__wrapped__() is None
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert native.__wrapped__() is None


@pytest.mark.skipif(native() is None, reason="no compiler")
def test_the_runtime_leaves_subnormal_numbers_to_the_process():
    smallest = np.finfo(np.float32).smallest_subnormal
    assert smallest * np.float32(1) > 0
