import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from mlsys_ray.ios.capture import capture
from mlsys_ray.ios.networks import NETWORKS

LIMIT = 1e-4


class Bottleneck(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(8, 8, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding="same", groups=2, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x
        return self.relu(out)


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(8 + 4 * i, 4, 3, padding=1) for i in range(3))
        self.norms = nn.ModuleList(nn.BatchNorm2d(8 + 4 * i) for i in range(3))

    def forward(self, x):
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = torch.cat((x, conv(F.relu(norm(x)))), 1)
        return F.adaptive_avg_pool2d(x, 1).flatten(1)


class Shared(nn.Module):
    """One convolution, called twice; outputs in a dictionary."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        once = F.hardswish(self.conv(x))
        twice = torch.sigmoid(self.conv(once)) * once
        return {"once": once, "pair": (twice, twice.mean((2, 3), keepdim=True))}


class Branches(nn.Module):
    """Branches of different sizes that leave, a static branch, padding and scaling."""

    def __init__(self):
        super().__init__()
        self.small = nn.Conv2d(8, 4, 3, stride=2)
        self.deep = nn.Sequential(
            nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False),
            nn.Conv2d(8, 6, 1, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU6(),
        )
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        if x.shape[1] != 8:
            raise ValueError("eight channels")
        padded = F.pad(x, (0, 1, 0, 1))
        half = F.max_pool2d(F.silu(self.small(padded)), 2, ceil_mode=True)
        return half, self.drop(self.deep(x)) * 0.5 + 1.0, x - 2.0


class DataDependent(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return x * self.calls


def trained(module):
    """The module with statistics that make folding a batch norm visible."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -1, 1)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.uniform_(part.weight, -1, 1)
            nn.init.uniform_(part.bias, -1, 1)
    return module.eval()


def assert_equal(module, captured, x):
    with torch.inference_mode():
        expected = module(x)
        found = captured.restore(captured.graph.run(x))
    expected, spec = pytree.tree_flatten(expected)
    found, found_spec = pytree.tree_flatten(found)
    assert found_spec == spec
    for one, other in zip(expected, found, strict=True):
        assert one.shape == other.shape
        assert (one - other).abs().max() <= LIMIT * one.abs().max()


@pytest.mark.parametrize("make", [Bottleneck, Dense, Shared, Branches])
def test_modules_of_the_usual_kind_give_what_they_gave(make):
    module = trained(make())
    captured = capture(module, [torch.randn(2, 8, 13, 11)])
    assert captured.reason is None
    assert_equal(module, captured, torch.randn(2, 8, 13, 11))


@pytest.mark.parametrize("make", [DataDependent, Counting])
def test_what_cannot_be_exported_runs_whole(make):
    module = make().eval()
    captured = capture(module, [torch.ones(2, 3)])
    assert captured.reason
    assert [operator.kind for operator in captured.graph.operators] == ["opaque"]
    torch.testing.assert_close(
        captured.restore(captured.graph.run(torch.ones(2, 3))), torch.ones(2, 3)
    )


def test_training_mode_is_refused():
    with pytest.raises(ValueError, match="training mode"):
        capture(Bottleneck(), [torch.randn(1, 8, 5, 5)])


def test_units_are_those_of_the_paper():
    captured = capture(trained(Bottleneck()), [torch.randn(1, 8, 6, 6)])
    kinds = [operator.kind for operator in captured.graph.operators]
    assert kinds == ["conv1x1+relu", "conv3x3", "sum+relu"]
    captured = capture(trained(Branches()), [torch.randn(1, 8, 6, 6)])
    kinds = [operator.kind for operator in captured.graph.operators]
    assert "depthwise5x5+conv1x1+relu6" in kinds


@pytest.mark.parametrize(
    "name",
    [
        "squeezenet",
        "resnet18",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in sorted(set(NETWORKS) - {"squeezenet", "resnet18"})
        ),
    ],
)
def test_built_in_networks_give_what_they_gave(name, built):
    module, x, captured = built(name)
    assert captured.reason is None
    assert "opaque" not in {operator.kind for operator in captured.graph.operators}
    assert_equal(module, captured, x)
