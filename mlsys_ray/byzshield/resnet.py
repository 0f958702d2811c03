"""ResNet-18 for small images."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

InputShape = tuple[int, int, int]


def resnet18(input_shape: InputShape, num_classes: int) -> torch.nn.Module:
    """ResNet-18 as trained on CIFAR-10 (He et al. 2015): 11,173,962 parameters for its shape.

    The first convolution is 3 x 3 without pooling. Batch normalisation uses the statistics of
    the samples at hand, in tests too: running ones would be the workers' word alone.
    """
    from torch import nn

    blocks: list[nn.Module] = []
    width = 64
    for stage, channels in enumerate((64, 128, 256, 512)):
        for block in range(2):
            stride = 2 if stage and not block else 1
            blocks.append(_block(width, channels, stride))
            width = channels
    return nn.Sequential(
        *_convolution(input_shape[0], 64, 3),
        nn.ReLU(),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(512, num_classes),
    )


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> list[torch.nn.Module]:
    from torch import nn

    return [
        nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(outputs, track_running_stats=False),
    ]


def _block(inputs: int, outputs: int, stride: int) -> torch.nn.Module:
    """Two convolutions with a shortcut around them."""
    from torch import nn

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                *_convolution(inputs, outputs, 3, stride),
                nn.ReLU(),
                *_convolution(outputs, outputs, 3),
            )
            straight = stride == 1 and inputs == outputs
            self.shortcut = (
                nn.Identity()
                if straight
                else nn.Sequential(*_convolution(inputs, outputs, 1, stride))
            )

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return nn.functional.relu(self.body(images) + self.shortcut(images))

    return Residual()
