"""Pooling of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mlsys_ray.value_learning.operators.base import Expansion, Operator, require_rank
from mlsys_ray.value_learning.operators.expression import (
    Apply,
    Constant,
    Expression,
    Index,
    Load,
    Term,
    variable,
)
from mlsys_ray.value_learning.operators.matmul import MATRIX
from mlsys_ray.value_learning.operators.stage import Reduction, Stage, Tensor
from mlsys_ray.value_learning.operators.windows import IMAGE, padded, pointwise, windows

if TYPE_CHECKING:
    import torch

LOWEST = -3.4028234663852886e38
"""The least float32."""


@dataclass(frozen=True, kw_only=True)
class Pool2d(Operator):
    """The maximum or the average over square windows; an average counts the padding's zeros, too.

    Attributes:
        kind: which of the two.
        kernel: side of a window [pixels].
        stride: between windows [pixels].
        padding: on each side [pixels], at most half the kernel.
    """

    kind: Literal["max", "average"]
    kernel: int
    stride: int
    padding: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("max", "average"):
            raise ValueError(f"kind is {self.kind!r}, must be max or average")
        if 2 * self.padding > self.kernel:
            raise ValueError(f"padding is {self.padding}, must be at most half of {self.kernel}")

    def expand(self, name: str, inputs: Sequence[Tensor]) -> Expansion:
        """Padding, if an average has any; the fold over windows; the result.

        A maximum needs no padding: indices beyond the image are clamped, which repeats values of
        the same window.
        """
        (image,) = inputs
        require_rank(name, image, 4)
        channels, width, height, batch = image.extents
        extents = (
            channels,
            windows(width, self.kernel, self.stride, self.padding),
            windows(height, self.kernel, self.stride, self.padding),
            batch,
        )
        stages = []
        across = (Term("x", self.stride), Term("kx"))
        down = (Term("y", self.stride), Term("ky"))
        maximum = self.kind == "max"
        source, x, y = image, Index(across), Index(down)
        if self.padding and maximum:
            x = Index(across, -self.padding, clamp=width)
            y = Index(down, -self.padding, clamp=height)
        elif self.padding:
            stages.append(padded(f"{name}_padded", image, (self.padding,) * 2, (self.padding,) * 2))
            source = stages[0].tensor
        fold = Stage(
            f"{name}_fold",
            IMAGE,
            extents,
            Constant(LOWEST if maximum else 0.0),
            Reduction(
                ("kx", "ky"),
                (self.kernel, self.kernel),
                "maximum" if maximum else "add",
                Load(source.name, (variable("c"), x, y, variable("n"))),
            ),
        )
        result: Expression = pointwise(fold.tensor, IMAGE)
        if not maximum:
            result = Apply("multiply", (result, Constant(1.0 / self.kernel**2)))
        return Expansion((*stages, fold, Stage(name, IMAGE, extents, result)))

    def reference(
        self, inputs: Sequence[torch.Tensor], parameters: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """By `max_pool2d` and `avg_pool2d`."""
        from torch.nn import functional

        pool = functional.max_pool2d if self.kind == "max" else functional.avg_pool2d
        image = inputs[0].permute(0, 3, 1, 2)
        return pool(image, self.kernel, self.stride, self.padding).permute(0, 2, 3, 1)


@dataclass(frozen=True, kw_only=True)
class GlobalAveragePool(Operator):
    """The mean of each channel: `[batch, height, width, channels]` to `[batch, channels]`."""

    def expand(self, name: str, inputs: Sequence[Tensor]) -> Expansion:
        """The sum over the image, and the mean."""
        (image,) = inputs
        require_rank(name, image, 4)
        channels, width, height, batch = image.extents
        extents = (channels, batch)
        term = Load(image.name, (variable("c"), variable("kx"), variable("ky"), variable("r")))
        fold = Stage(
            f"{name}_fold",
            MATRIX,
            extents,
            Constant(0.0),
            Reduction(("kx", "ky"), (width, height), "add", term),
        )
        mean = Apply("multiply", (pointwise(fold.tensor, MATRIX), Constant(1.0 / (width * height))))
        return Expansion((fold, Stage(name, MATRIX, extents, mean)))

    def reference(
        self, inputs: Sequence[torch.Tensor], parameters: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """By `mean`."""
        return inputs[0].mean(dim=(1, 2))
