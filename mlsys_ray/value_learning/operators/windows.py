"""What operators with sliding windows over images share."""

from __future__ import annotations

from mlsys_ray.value_learning.operators.expression import (
    Constant,
    Index,
    Inside,
    Load,
    Term,
    variable,
)
from mlsys_ray.value_learning.operators.stage import Stage, Tensor

IMAGE = ("c", "x", "y", "n")
"""Loop variables of an image, innermost in memory first."""


def pointwise(tensor: Tensor, variables: tuple[str, ...]) -> Load:
    """The value of a tensor at the very point of a stage."""
    return Load(tensor.name, tuple(variable(name) for name in variables))


def padded(name: str, image: Tensor, before: tuple[int, int], after: tuple[int, int]) -> Stage:
    """Zeros around an image: its domain begins at the padding's corner.

    Indices are clamped besides, so that no schedule reads outside the image, whatever it rounds up.

    Args:
        name: of the stage.
        image: what is padded.
        before: zeros at the left and at the top.
        after: zeros at the right and at the bottom.
    """
    c, x, y, n = image.extents
    (left, top), (right, bottom) = before, after
    across = Index((Term("x"),), -left)
    down = Index((Term("y"),), -top)
    inside = Load(
        image.name,
        (
            variable("c"),
            Index(across.terms, -left, clamp=x),
            Index(down.terms, -top, clamp=y),
            variable("n"),
        ),
    )
    return Stage(
        name,
        IMAGE,
        (c, left + x + right, top + y + bottom, n),
        Inside((across, down), (x, y), inside, Constant(0.0)),
    )


def windows(size: int, kernel: int, stride: int, padding: int) -> int:
    """How many windows lie in a side of an image.

    Raises:
        ValueError: not even one.
    """
    if kernel < 1 or stride < 1 or padding < 0:
        raise ValueError(f"kernel {kernel}, stride {stride}, padding {padding} make no window")
    count = (size + 2 * padding - kernel) // stride + 1
    if count < 1:
        raise ValueError(f"a kernel of {kernel} is wider than a side of {size} with {padding}")
    return count
