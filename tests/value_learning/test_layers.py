import json

import pytest
import torch
from torch import nn

from mlsys_ray.cli.value_learning_evaluate import layers_of_network
from mlsys_ray.value_learning.extraction import layers_of
from mlsys_ray.value_learning.layers import (
    LAYERS,
    Conv2dLayer,
    GlobalPool2dLayer,
    MatMulLayer,
    MaxPool2dLayer,
    layer_from_json,
    load_layers,
    save_layers,
)

CONV = {"op": "conv2d", "in_channels": 8, "out_channels": 16, "height": 9, "width": 7, "kernel": 3}
RECORDS = [
    CONV,
    CONV | {"stride": 2, "padding": 1, "groups": 4, "batch": 2, "activation": "relu"},
    {"op": "matmul", "m": 4, "n": 24, "k": 10},
    {"op": "matmul", "m": 4, "n": 24, "k": 10, "panel": 8, "transposed": True},
    {"op": "maxpool2d", "channels": 8, "height": 9, "width": 9, "kernel": 3, "padding": 1},
    {"op": "avgpool2d", "channels": 8, "height": 9, "width": 9, "kernel": 2, "stride": 2},
    {"op": "globalpool2d", "channels": 8, "height": 9, "width": 9},
    {"op": "softmax", "rows": 4, "columns": 9},
    {"op": "layernorm", "rows": 4, "columns": 9},
    {"op": "add", "channels": 8, "height": 3, "width": 3},
    {"op": "concat", "channels": [8, 16], "height": 3, "width": 3},
]


def test_files_keep_layers(tmp_path):
    layers = [layer_from_json(record) for record in RECORDS]
    assert {layer.op for layer in layers} == set(LAYERS)
    save_layers(layers, tmp_path / "layers.json")
    assert load_layers(tmp_path / "layers.json") == layers


def test_layers_of_built_in_networks():
    """MobileNetV2 as its paper's table 2 has it: 17 depthwise layers, of 10 different shapes."""
    found = layers_of_network("mobilenet_v2")
    depthwise = [layer for layer in found if getattr(layer, "groups", 1) > 1]
    assert sorted({(layer.groups, layer.height, layer.stride) for layer in depthwise}) == [
        (32, 112, 1), (96, 112, 2), (144, 56, 1), (144, 56, 2), (192, 28, 1), (192, 28, 2),
        (384, 14, 1), (576, 14, 1), (576, 14, 2), (960, 7, 1),
    ]  # fmt: skip
    assert MatMulLayer(m=1, n=1000, k=1280, transposed=True) in found
    with pytest.raises(ValueError, match="'vgg' is unknown"):
        layers_of_network("vgg")


def test_shapes():
    shapes = [layer_from_json(record).pipeline().output.shape for record in RECORDS]
    assert shapes == [
        (1, 7, 5, 16), (2, 5, 4, 16), (4, 24), (4, 24), (1, 9, 9, 8), (1, 4, 4, 8), (1, 8),
        (4, 9), (4, 9), (1, 3, 3, 8), (1, 3, 3, 24),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"op": "conv3d"}, "needs an op"),
        ({"kernel": 0}, "kernel is 0, must be at least 1"),
        ({"kernel": "3"}, "kernel is '3'"),
        ({"kernel": True}, "kernel is True"),
        ({"kernel": 10}, "wider than"),
        ({"padding": -1}, "padding is -1"),
        ({"groups": 3}, "groups is 3"),
        ({"dilation": 2}, "no field 'dilation'"),
        ({"activation": "tanh"}, "activation is 'tanh'"),
    ],
)
def test_wrong_layers_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        layer_from_json(CONV | change)


def test_a_missing_size_is_named():
    with pytest.raises(ValueError, match="matmul needs n"):
        layer_from_json({"op": "matmul", "m": 1, "k": 2})


@pytest.mark.parametrize(
    ("text", "message"),
    [("[", "is no JSON"), ("{}", "is no list"), (json.dumps([CONV, {}]), "layer 1 of")],
)
def test_wrong_files_are_refused(tmp_path, text, message):
    (tmp_path / "layers.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_layers(tmp_path / "layers.json")


def test_layers_of_a_module():
    shared = nn.Conv2d(8, 8, 3, padding=1, groups=8)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        shared,
        shared,
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(8, 8, (1, 3)),
        nn.Tanh(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )
    found, left = layers_of(module, [torch.zeros(2, 3, 17, 17)])
    first = Conv2dLayer(
        batch=2,
        in_channels=3,
        out_channels=8,
        height=17,
        width=17,
        kernel=3,
        stride=2,
        padding=1,
    )
    depthwise = Conv2dLayer(
        batch=2, in_channels=8, out_channels=8, height=9, width=9, kernel=3, padding=1, groups=8
    )
    pool = MaxPool2dLayer(batch=2, channels=8, height=9, width=9, kernel=3, stride=2, padding=1)
    mean = GlobalPool2dLayer(batch=2, channels=8, height=5, width=3)
    product = MatMulLayer(m=2, n=10, k=8, transposed=True)
    assert list(found.items()) == [(first, 1), (depthwise, 2), (pool, 1), (mean, 1), (product, 1)]
    assert left == {"Conv2d": 1, "Tanh": 1}
    assert module.training


def test_layers_of_a_known_network():
    from mlsys_ray.ios.networks import build_network

    found, left = layers_of(build_network("resnet18"), [torch.zeros(1, 3, 64, 64)])
    assert not left
    assert sum(count for layer, count in found.items() if layer.op == "conv2d") == 20
    assert sum(layer.op == "matmul" for layer in found) == 1
