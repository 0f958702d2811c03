"""Kernels by Halide compute what the graph does, on the engine's blocks, in any parts."""

import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mlsys_ray.ios.capture import capture
from mlsys_ray.ios.engines.onednn.binding import loaded
from mlsys_ray.ios.engines.onednn.engine import OneDNNEngine
from mlsys_ray.ios.engines.onednn.halide import HalideKernels
from mlsys_ray.ios.engines.onednn.halide_making import make_kernels
from mlsys_ray.ios.engines.onednn.network import Network
from mlsys_ray.ios.engines.onednn.placement import place
from mlsys_ray.ios.engines.onednn.runtime import Pool, native
from mlsys_ray.ios.optimization import find
from mlsys_ray.ios.plan import Settings
from mlsys_ray.ios.schedule import Schedule, digest
from mlsys_ray.value_learning import kernels as kernels_module
from mlsys_ray.value_learning.kernels import KernelStore

pytestmark = [
    pytest.mark.skipif(loaded() is None, reason="onednn-cpu-gomp is not installed"),
    pytest.mark.skipif(native() is None, reason="there is no C++ compiler"),
]
LIMIT = 1e-4


class Mixture(nn.Module):
    """Each kind of node, channels that fill no block, a concatenation written in place."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 20, 3, stride=2, padding=1)
        self.wide = nn.Conv2d(20, 24, (1, 5), padding=(0, 2))
        self.narrow = nn.Conv2d(20, 9, 1)
        self.depthwise = nn.Conv2d(33, 33, 3, stride=2, padding=1, groups=33)
        self.pointwise = nn.Conv2d(33, 33, 1)
        self.last = nn.Linear(33, 10)

    def forward(self, x):
        x = torch.relu(self.first(x))
        x = torch.cat([self.wide(x), F.relu6(self.narrow(x))], 1)
        x = F.max_pool2d(x, 3, 1, 1)
        y = self.pointwise(self.depthwise(torch.relu(x)))
        z = F.avg_pool2d(x, 2, 2)
        w = torch.relu(0.5 * y + 2 * z)
        return self.last(F.adaptive_avg_pool2d(w + y, 1).flatten(1))


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Kernels and latencies of these tests go to a folder of their own, which they share."""
    folder = tmp_path_factory.getbasetemp() / "kernels"
    monkeypatch.setattr(kernels_module, "cache_dir", lambda: folder)
    return folder


def graph_of(module, x):
    torch.manual_seed(0)
    return capture(module.eval(), [x]).graph


def kernels_of(graph, position):
    """For each operator that Halide can compute one of the ways to, after making the kernels."""
    pool = Pool(2, native())
    network = Network(graph, pool, [(0, 0)] * len(graph.operators), halide=True)
    assert not network.without_halide
    seconds = torch.ones(len(graph.operators)).numpy()
    said = []
    make_kernels(network, seconds, seconds_each=0.01, seconds_in_all=600, say=said.append)
    found = {}
    for number, operator in enumerate(graph.operators):
        ways = [v for v in network.variants(number) if v.startswith("halide/")]
        if ways:
            found[operator.name] = ways[position % len(ways)]
    network.close()
    pool.close()
    return found, said


def one_by_one(graph, kernels):
    return Schedule(
        graph=digest(graph),
        device="here",
        batch_size=1,
        versions={},
        stages=tuple(((operator.name,),) for operator in graph.operators),
        kernels=kernels,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "position"), [(1, 0), (1, 1), (1, -1), (2, 0)])
def test_every_kind_of_node(batch, position):
    torch.manual_seed(1)
    module = Mixture()
    x = torch.randn(batch, 3, 27, 31)
    graph = graph_of(module, x)
    kernels, _ = kernels_of(graph, position)
    assert len(kernels) >= 7
    with OneDNNEngine(graph, one_by_one(graph, kernels), 2) as engine:
        for _ in range(2):
            fresh = torch.randn_like(x)
            (expected,) = graph.run(fresh)
            (found,) = engine(fresh)
            assert float((found - expected).abs().max()) <= LIMIT * float(expected.abs().max())


def test_kernels_are_made_once(own_cache):
    graph = graph_of(nn.Sequential(nn.Conv2d(16, 32, 1), nn.ReLU()), torch.randn(1, 16, 6, 6))
    kernels, said = kernels_of(graph, 0)
    assert list(kernels.values()) == ["halide/whole"]
    assert any("1 kernels to schedule" in text for text in said)
    again, said = kernels_of(graph, 0)
    assert again == kernels
    assert not said


def test_a_failure_is_kept_and_other_kernels_take_over(own_cache, monkeypatch):
    def refused(*_):
        raise RuntimeError("no schedule could be measured: refused")

    monkeypatch.setattr("mlsys_ray.value_learning.tuning.tune", refused)
    graph = graph_of(nn.Sequential(nn.Conv2d(16, 48, 1), nn.ReLU()), torch.randn(1, 16, 6, 6))
    kernels, said = kernels_of(graph, 0)
    assert not kernels
    assert said[-1].endswith("failed")
    assert kernels_of(graph, 0) == ({}, [])
    with OneDNNEngine(graph, one_by_one(graph, {}), 2) as engine:
        (found,) = engine(*graph.examples)
    assert torch.allclose(found, graph.run(*graph.examples)[0], atol=1e-5)


def test_a_kernel_whose_file_is_gone_or_damaged_is_made_anew(own_cache):
    graph = graph_of(nn.Sequential(nn.Conv2d(16, 64, 1), nn.ReLU()), torch.randn(1, 16, 5, 5))
    kernels, _ = kernels_of(graph, 0)
    for damage in (lambda path: path.unlink(), lambda path: path.write_text("{")):
        for path in KernelStore().folder.glob("*.json"):
            damage(path)
        again, said = kernels_of(graph, 0)
        assert again == kernels
        assert said


def test_parts_cover_the_whole():
    x = torch.randn(1, 3, 27, 31)
    graph = graph_of(Mixture(), x)
    for block in (8, 16):
        halide = HalideKernels(place(graph, block), KernelStore())
        for operator in graph.operators:
            for way in ("whole", "apart"):
                for segment in halide.segments(operator.nodes, way):
                    pipelines = halide.pipelines(segment.nodes)
                    if pipelines is None:
                        continue
                    whole, part = pipelines.whole.output.extents, pipelines.part.output.extents
                    assert [s.name for s in pipelines.whole.stages] == [
                        s.name for s in pipelines.part.stages
                    ]
                    assert all(p <= w for p, w in zip(part, whole, strict=True))
                    assert whole[3] % part[3] == 0
                    json.dumps(pipelines.part.to_json())


@pytest.mark.slow
def test_the_search_picks_among_them(tmp_path):
    module = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)).eval()
    x = torch.randn(1, 16, 12, 12)
    said = []
    settings = Settings(
        num_threads=2, kernels=("onednn", "halide"), halide_seconds=0.01, cache=tmp_path
    )
    found = find(module, capture(module, [x]), ["ios_mixed"], settings, said.append)
    assert any(text.startswith("Halide: 2 kernels") for text in said)
    assert found.differences["ios_mixed"] <= LIMIT * 10
    kept = find(module, capture(module, [x]), ["ios_mixed"], settings, said.append)
    assert kept.num_measured == 0


def test_without_the_runtime_there_are_none():
    graph = graph_of(nn.Sequential(nn.Conv2d(16, 32, 1), nn.ReLU()), torch.randn(1, 16, 6, 6))
    pool = Pool(2, None)
    network = Network(graph, pool, [(0, 0)] * len(graph.operators), halide=True)
    said = []
    made = make_kernels(
        network, torch.ones(1).numpy(), seconds_each=1, seconds_in_all=1, say=said.append
    )
    assert made == 0
    assert "compiler" in said[0]
    network.close()
    pool.close()


@pytest.mark.parametrize(
    ("kernels", "message"), [(("onednn", "magic"), "'magic'"), (("halide",), "must have onednn")]
)
def test_kernels_that_make_no_sense(kernels, message):
    with pytest.raises(ValueError, match=message):
        Settings(kernels=kernels)
