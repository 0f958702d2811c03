"""The layers of a PyTorch module, by running it once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from mlsys_ray.value_learning.layers import (
    AvgPool2dLayer,
    Conv2dLayer,
    GlobalPool2dLayer,
    Layer,
    LayerNormLayer,
    MatMulLayer,
    MaxPool2dLayer,
    SoftmaxLayer,
)


def layers_of(
    module: nn.Module, examples: Sequence[torch.Tensor]
) -> tuple[Mapping[Layer, int], Mapping[str, int]]:
    """The layers that a module runs, with how often, in the order of their first run.

    Submodules are looked at, not functions that a `forward` calls. Activations and batch norms go
    with the convolutions before them; dropout and the like compute nothing.

    Args:
        module: what is run once, in evaluation mode and without gradients.
        examples: its arguments.

    Returns:
        Layers with their counts; and the kinds of submodules that are no such layer, with theirs.
    """
    found: Counter[Layer] = Counter()
    left: Counter[str] = Counter()

    def look(part: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        layer = _layer(part, inputs[0], output)
        if layer is not None:
            found[layer] += 1
        elif not isinstance(part, _WITHOUT_LAYER):
            left[type(part).__name__] += 1

    leaves = [part for part in module.modules() if not list(part.children())]
    hooks = [part.register_forward_hook(look) for part in leaves]
    training = module.training
    try:
        module.eval()
        with torch.inference_mode():
            module(*examples)
    finally:
        module.train(training)
        for hook in hooks:
            hook.remove()
    return found, left


_WITHOUT_LAYER = (
    *(nn.ReLU, nn.ReLU6, nn.GELU, nn.BatchNorm2d, nn.Dropout, nn.Identity, nn.Flatten),
)


def _layer(part: nn.Module, x: torch.Tensor, output: torch.Tensor) -> Layer | None:
    match part:
        case nn.Conv2d() if _square(part.kernel_size, part.stride, part.padding) and (
            part.dilation == (1, 1)
        ):
            assert not isinstance(part.padding, str)
            batch, _, height, width = x.shape
            return Conv2dLayer(
                batch=batch,
                in_channels=part.in_channels,
                out_channels=part.out_channels,
                height=height,
                width=width,
                kernel=part.kernel_size[0],
                stride=part.stride[0],
                padding=part.padding[0],
                groups=part.groups,
            )
        case nn.Linear():
            rows = x.numel() // part.in_features
            return MatMulLayer(m=rows, n=part.out_features, k=part.in_features, transposed=True)
        case nn.MaxPool2d() | nn.AvgPool2d() if (
            _square(part.kernel_size, part.stride, part.padding) and not part.ceil_mode
        ):
            return _pool(part, x)
        case nn.AdaptiveAvgPool2d() if output.shape[2:] == (1, 1):
            batch, channels, height, width = x.shape
            return GlobalPool2dLayer(batch=batch, channels=channels, height=height, width=width)
        case nn.Softmax() if part.dim in (-1, x.dim() - 1):
            return SoftmaxLayer(rows=x.numel() // x.shape[-1], columns=x.shape[-1])
        case nn.LayerNorm() if len(part.normalized_shape) == 1:
            return LayerNormLayer(rows=x.numel() // x.shape[-1], columns=x.shape[-1])
    return None


def _pool(part: nn.MaxPool2d | nn.AvgPool2d, x: torch.Tensor) -> Layer:
    batch, channels, height, width = x.shape
    kind = MaxPool2dLayer if isinstance(part, nn.MaxPool2d) else AvgPool2dLayer
    return kind(
        batch=batch,
        channels=channels,
        height=height,
        width=width,
        kernel=_side(part.kernel_size),
        stride=_side(part.stride),
        padding=_side(part.padding),
    )


def _side(size: int | tuple[int, ...]) -> int:
    return size if isinstance(size, int) else size[0]


def _square(*sizes: int | str | tuple[int, ...]) -> bool:
    """Whether height and width are the same in each."""
    return all(
        isinstance(size, int) or (isinstance(size, tuple) and len(set(size)) == 1) for size in sizes
    )
