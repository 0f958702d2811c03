"""SqueezeNet with complex bypass (Iandola et al. 2016, arXiv 1602.07360, figure 2 right)."""

from __future__ import annotations

import torch
from torch import nn


class Fire(nn.Module):
    """Squeeze to 1x1, expand by 1x1 and 3x3, add the input (by a 1x1 where channels differ)."""

    def __init__(self, in_channels: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(nn.Conv2d(in_channels, squeeze, 1), nn.ReLU())
        self.expand1 = nn.Sequential(nn.Conv2d(squeeze, expand, 1), nn.ReLU())
        self.expand3 = nn.Sequential(nn.Conv2d(squeeze, expand, 3, padding=1), nn.ReLU())
        self.bypass: nn.Module = nn.Identity()
        if in_channels != 2 * expand:
            self.bypass = nn.Conv2d(in_channels, 2 * expand, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of a tensor `[N, in_channels, H, W]`: `[N, 2 * expand, H, W]`."""
        squeezed = self.squeeze(x)
        expanded = torch.cat([self.expand1(squeezed), self.expand3(squeezed)], dim=1)
        return expanded + self.bypass(x)


class SqueezeNet(nn.Sequential):
    """Version 1.0; inputs `[N, 3, 224, 224]`, outputs `[N, num_classes, 1, 1]`."""

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__(
            nn.Conv2d(3, 96, 7, stride=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            Fire(96, 16, 64),
            Fire(128, 16, 64),
            Fire(128, 32, 128),
            nn.MaxPool2d(3, stride=2),
            Fire(256, 32, 128),
            Fire(256, 48, 192),
            Fire(384, 48, 192),
            Fire(384, 64, 256),
            nn.MaxPool2d(3, stride=2),
            Fire(512, 64, 256),
            nn.Conv2d(512, num_classes, 1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
        )
