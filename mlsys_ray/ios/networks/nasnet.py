"""NASNet-A large (Zoph et al. 2017, arXiv 1707.07012, figure 4; 6 normal cells, 168 filters)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from mlsys_ray.ios.networks.layers import Classifier, ReluSeparableBn

STEM = 96
FILTERS = 168
REPEATS = 6


class Separable(nn.Sequential):
    """A separable convolution applied twice, the stride in the first."""

    def __init__(self, in_channels: int, channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__(
            ReluSeparableBn(in_channels, channels, kernel_size, stride=stride),
            ReluSeparableBn(channels, channels, kernel_size),
        )


class Fit(nn.Sequential):
    """Relu, 1x1 convolution, batch norm: to the number of filters of a cell."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(in_channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels, eps=0.001),
        )


class FactorizedReduction(nn.Module):
    """Half the size by two strided 1x1 convolutions, the second one shifted by a pixel."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.relu, self.relu_odd = nn.ReLU(), nn.ReLU()
        self.even = nn.Conv2d(in_channels, channels // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(in_channels, channels - channels // 2, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(channels, eps=0.001)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of a tensor `[N, C, H, W]`: `[N, channels, ceil(H / 2), ceil(W / 2)]`."""
        shifted = functional.pad(self.relu_odd(x), (-1, 1, -1, 1))
        return self.norm(torch.cat([self.even(self.relu(x)), self.odd(shifted)], dim=1))


def _max_pool(stride: int) -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=stride, padding=1)


def _average_pool(stride: int) -> nn.AvgPool2d:
    return nn.AvgPool2d(3, stride=stride, padding=1, count_include_pad=False)


class NormalCell(nn.Module):
    """Five sums of two, concatenated with the left input."""

    def __init__(self, left: nn.Module, right: nn.Module, channels: int) -> None:
        super().__init__()
        self.left, self.right = left, right
        self.right5 = Separable(channels, channels, 5)
        self.left3 = Separable(channels, channels, 3)
        self.left5 = Separable(channels, channels, 5)
        self.left3b = Separable(channels, channels, 3)
        self.pools = nn.ModuleList(_average_pool(1) for _ in range(3))
        self.right3 = Separable(channels, channels, 3)

    def forward(self, before: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """Of the outputs of the last two cells: `[N, 6 * channels, H, W]`."""
        left, right = self.left(before), self.right(last)
        return torch.cat(
            [
                left,
                self.right5(right) + self.left3(left),
                self.left5(left) + self.left3b(left),
                self.pools[0](right) + left,
                self.pools[1](left) + self.pools[2](left),
                self.right3(right) + right,
            ],
            dim=1,
        )


class ReductionCell(nn.Module):
    """Half the size: four of the sums, concatenated. `left` may be the raw input (first stem)."""

    def __init__(
        self, left: nn.Module, right: nn.Module, left_channels: int, channels: int
    ) -> None:
        super().__init__()
        self.left, self.right = left, right
        self.right5 = Separable(channels, channels, 5, stride=2)
        self.left7 = Separable(left_channels, channels, 7, stride=2)
        self.right_max = _max_pool(2)
        self.left7b = Separable(left_channels, channels, 7, stride=2)
        self.right_average = _average_pool(2)
        self.left5 = Separable(left_channels, channels, 5, stride=2)
        self.inner_average = _average_pool(1)
        self.inner3 = Separable(channels, channels, 3)
        self.right_max_b = _max_pool(2)

    def forward(self, before: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """Of the outputs of the last two cells: `[N, 4 * channels, ...]`."""
        left, right = self.left(before), self.right(last)
        first = self.right5(right) + self.left7(left)
        second = self.right_max(right) + self.left7b(left)
        third = self.right_average(right) + self.left5(left)
        fourth = self.inner_average(first) + second
        fifth = self.inner3(first) + self.right_max_b(right)
        return torch.cat([second, third, fourth, fifth], dim=1)


class NASNetALarge(nn.Module):
    """Inputs `[N, 3, 331, 331]`, outputs `[N, num_classes]`."""

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, STEM, 3, stride=2, bias=False), nn.BatchNorm2d(STEM, eps=0.001)
        )
        quarter, half = FILTERS // 4, FILTERS // 2
        self.cells = nn.ModuleList(
            [
                ReductionCell(nn.Identity(), Fit(STEM, quarter), STEM, quarter),
                ReductionCell(FactorizedReduction(STEM, half), Fit(4 * quarter, half), half, half),
            ]
        )
        before, last = 4 * quarter, 4 * half
        for stage in range(3):
            filters = FILTERS * 2**stage
            if stage > 0:
                self.cells.append(
                    ReductionCell(Fit(before, filters), Fit(last, filters), filters, filters)
                )
                before, last = last, 4 * filters
            for cell in range(REPEATS):
                left = FactorizedReduction if cell == 0 else Fit
                self.cells.append(NormalCell(left(before, filters), Fit(last, filters), filters))
                before, last = last, 6 * filters
        self.head = nn.Sequential(nn.ReLU(), Classifier(last, num_classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of images `[N, 3, 331, 331]`: `[N, num_classes]`."""
        before = last = self.stem(x)
        for cell in self.cells:
            before, last = last, cell(before, last)
        return self.head(last)
