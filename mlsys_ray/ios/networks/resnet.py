"""ResNet (He et al. 2015, arXiv 1512.03385), the stride in a bottleneck's 3x3 convolution."""

from __future__ import annotations

import torch
from torch import nn

from mlsys_ray.ios.networks.layers import Classifier, ConvBnRelu


class Residual(nn.Module):
    """Convolutions, the input added, relu."""

    def __init__(self, channels: tuple[int, ...], kernels: tuple[int, ...], stride: int) -> None:
        super().__init__()
        strided = 0 if len(kernels) == 2 else 1
        layers: list[nn.Module] = []
        for i, kernel in enumerate(kernels):
            layers.append(
                ConvBnRelu(
                    channels[i],
                    channels[i + 1],
                    kernel,
                    stride=stride if i == strided else 1,
                    padding=kernel // 2,
                )
            )
        self.body = nn.Sequential(*layers[:-1], *list(layers[-1].children())[:-1])
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels[0] != channels[-1]:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels[0], channels[-1], 1, stride=stride, bias=False),
                nn.BatchNorm2d(channels[-1]),
            )
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of a tensor `[N, C, H, W]`."""
        return self.relu(self.body(x) + self.shortcut(x))


class ResNet(nn.Sequential):
    """Inputs `[N, 3, 224, 224]`, outputs `[N, num_classes]`."""

    def __init__(self, blocks: tuple[int, ...], *, bottleneck: bool, num_classes: int = 1000):
        stages: list[nn.Module] = []
        channels = 64
        for stage, count in enumerate(blocks):
            width = 64 * 2**stage
            inner = (width, width, 4 * width) if bottleneck else (width, width)
            kernels = (1, 3, 1) if bottleneck else (3, 3)
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                stages.append(Residual((channels, *inner), kernels, stride))
                channels = inner[-1]
        super().__init__(
            ConvBnRelu(3, 64, 7, stride=2, padding=3),
            nn.MaxPool2d(3, stride=2, padding=1),
            *stages,
            Classifier(channels, num_classes),
        )


def resnet18() -> ResNet:
    """11.7 million parameters."""
    return ResNet((2, 2, 2, 2), bottleneck=False)


def resnet50() -> ResNet:
    """25.6 million parameters."""
    return ResNet((3, 4, 6, 3), bottleneck=True)
