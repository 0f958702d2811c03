"""Inception V3 (Szegedy et al. 2015, arXiv 1512.00567), without the auxiliary classifier."""

from __future__ import annotations

import torch
from torch import nn

from mlsys_ray.ios.networks.layers import Classifier, ConvBnRelu


def _conv(
    in_channels: int, out_channels: int, kernel: int | tuple[int, int], stride: int = 1
) -> ConvBnRelu:
    """A convolution that keeps the size, or halves it without padding."""
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (height // 2, width // 2) if stride == 1 else (0, 0)
    return ConvBnRelu(in_channels, out_channels, kernel, stride=stride, padding=padding, eps=0.001)


def _chain(in_channels: int, *layers: tuple[int, int | tuple[int, int]]) -> nn.Sequential:
    convs = []
    for out_channels, kernel in layers:
        convs.append(_conv(in_channels, out_channels, kernel))
        in_channels = out_channels
    return nn.Sequential(*convs)


def _pooled(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.AvgPool2d(3, stride=1, padding=1), _conv(in_channels, out_channels, 1))


class Branches(nn.Module):
    """Branches of one input, concatenated."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of a tensor `[N, C, H, W]`."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def _block_a(channels: int, pooled: int) -> Branches:
    return Branches(
        _conv(channels, 64, 1),
        _chain(channels, (48, 1), (64, 5)),
        _chain(channels, (64, 1), (96, 3), (96, 3)),
        _pooled(channels, pooled),
    )


def _block_b(channels: int) -> Branches:
    return Branches(
        _conv(channels, 384, 3, stride=2),
        nn.Sequential(*_chain(channels, (64, 1), (96, 3)), _conv(96, 96, 3, stride=2)),
        nn.MaxPool2d(3, stride=2),
    )


def _block_c(channels: int, inner: int) -> Branches:
    wide, tall = (1, 7), (7, 1)
    return Branches(
        _conv(channels, 192, 1),
        _chain(channels, (inner, 1), (inner, wide), (192, tall)),
        _chain(channels, (inner, 1), (inner, tall), (inner, wide), (inner, tall), (192, wide)),
        _pooled(channels, 192),
    )


def _block_d(channels: int) -> Branches:
    return Branches(
        nn.Sequential(_conv(channels, 192, 1), _conv(192, 320, 3, stride=2)),
        nn.Sequential(
            *_chain(channels, (192, 1), (192, (1, 7)), (192, (7, 1))), _conv(192, 192, 3, stride=2)
        ),
        nn.MaxPool2d(3, stride=2),
    )


def _block_e(channels: int) -> Branches:
    return Branches(
        _conv(channels, 320, 1),
        nn.Sequential(
            _conv(channels, 384, 1), Branches(_conv(384, 384, (1, 3)), _conv(384, 384, (3, 1)))
        ),
        nn.Sequential(
            *_chain(channels, (448, 1), (384, 3)),
            Branches(_conv(384, 384, (1, 3)), _conv(384, 384, (3, 1))),
        ),
        _pooled(channels, 192),
    )


def block_e() -> nn.Module:
    """The last block alone, for 2,048 channels at 8 x 8 pixels: that with the largest search."""
    return _block_e(2048)


class InceptionV3(nn.Sequential):
    """Inputs `[N, 3, 299, 299]`, outputs `[N, num_classes]` (`[N, 2048, 1, 1]` without classes)."""

    def __init__(self, num_classes: int | None = 1000) -> None:
        super().__init__(
            _conv(3, 32, 3, stride=2),
            ConvBnRelu(32, 32, 3, eps=0.001),
            _conv(32, 64, 3),
            nn.MaxPool2d(3, stride=2),
            _conv(64, 80, 1),
            ConvBnRelu(80, 192, 3, eps=0.001),
            nn.MaxPool2d(3, stride=2),
            _block_a(192, 32),
            _block_a(256, 64),
            _block_a(288, 64),
            _block_b(288),
            _block_c(768, 128),
            _block_c(768, 160),
            _block_c(768, 160),
            _block_c(768, 192),
            _block_d(768),
            _block_e(1280),
            _block_e(2048),
            Classifier(2048, num_classes),
        )
