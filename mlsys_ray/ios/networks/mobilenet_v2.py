"""MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381), width 1."""

from __future__ import annotations

import torch
from torch import nn

from mlsys_ray.ios.networks.layers import Classifier

BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, blocks, stride of the first block (the paper's table 2)."""


def _conv(channels: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Module:
    convolution = nn.Conv2d(
        channels, out, kernel, stride, padding=kernel // 2, groups=groups, bias=False
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU6())


class InvertedResidual(nn.Module):
    """Channels expanded, convolved one by one, and reduced without an activation."""

    def __init__(self, channels: int, out: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        wide = expansion * channels
        layers = [_conv(channels, wide)] if expansion > 1 else []
        layers.append(_conv(wide, wide, 3, stride, groups=wide))
        self.body = nn.Sequential(*layers, nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out))
        self.residual = stride == 1 and channels == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of a tensor `[N, C, H, W]`."""
        return x + self.body(x) if self.residual else self.body(x)


class MobileNetV2(nn.Sequential):
    """Inputs `[N, 3, 224, 224]`, outputs `[N, num_classes]`; 3.5 million parameters."""

    def __init__(self, num_classes: int = 1000) -> None:
        blocks: list[nn.Module] = []
        channels = 32
        for expansion, out, count, stride in BLOCKS:
            for place in range(count):
                own = stride if place == 0 else 1
                blocks.append(InvertedResidual(channels, out, stride=own, expansion=expansion))
                channels = out
        super().__init__(
            _conv(3, 32, 3, 2), *blocks, _conv(channels, 1280), Classifier(1280, num_classes)
        )
