"""Layers that several networks share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


class ConvBnRelu(nn.Sequential):
    """Convolution without bias, batch norm, relu."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
        eps: float = 1e-5,
    ) -> None:
        super().__init__(
            nn.Conv2d(
                in_channels, out_channels, kernel_size, stride=stride, padding=padding, bias=False
            ),
            nn.BatchNorm2d(out_channels, eps=eps),
            nn.ReLU(),
        )


class ReluSeparableBn(nn.Sequential):
    """Relu, depthwise and pointwise convolution, batch norm."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1
    ) -> None:
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(
                in_channels,
                in_channels,
                kernel_size,
                stride=stride,
                padding=kernel_size // 2,
                groups=in_channels,
                bias=False,
            ),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )


class Classifier(nn.Sequential):
    """Global average pooling and a linear layer; pooling alone without classes."""

    def __init__(self, channels: int, num_classes: int | None) -> None:
        layers: list[nn.Module] = [nn.AdaptiveAvgPool2d(1)]
        if num_classes is not None:
            layers += [nn.Flatten(), nn.Linear(channels, num_classes)]
        super().__init__(*layers)


def initialised(
    build: Callable[[], nn.Module], input_shape: tuple[int, int, int], seed: int
) -> nn.Module:
    """A network with seeded weights, in evaluation mode.

    Batch norms get random scales, and the statistics of one random image `input_shape`, so that
    activations keep the size that they have in a trained network.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = build()
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.uniform_(module.bias, -0.1, 0.1)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.8, 1.2)
                nn.init.uniform_(module.bias, -0.1, 0.1)
                module.momentum = None
        model.train()(torch.randn(1, *input_shape))
    return model.eval()
