"""Whether something computes what a model does."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mlsys_ray.ios.devices import Precision

TOLERANCE = 1e-4
TOLERANCES: dict[Precision, float] = {"fp32": TOLERANCE, "tf32": 1e-2, "fp16": 1e-2}
"""Of an output's largest value: how far it may be from the model's in single precision. TF32 and
fp16 round factors to 11 bits: each convolution errs by some 5e-4, a hundred of them by more."""


class DisagreementError(RuntimeError):
    """Outputs are not the model's; the text says how far they are."""


def checked_difference(
    found: Sequence[torch.Tensor],
    expected: Sequence[torch.Tensor],
    tolerance: float = TOLERANCE,
) -> float:
    """The largest absolute difference of outputs from those of the model.

    Raises:
        DisagreementError: it is above the tolerance, of the output's largest value, or they are not
            of the same number and shapes.
    """
    shapes = [[tuple(x.shape) for x in tensors] for tensors in (found, expected)]
    if shapes[0] != shapes[1]:
        raise DisagreementError(f"outputs have shapes {shapes[0]}, the model's {shapes[1]}")
    largest = 0.0
    for number, (own, wanted) in enumerate(zip(found, expected, strict=True)):
        if not wanted.numel():
            continue
        difference = float((own.double().cpu() - wanted.double().cpu()).abs().max())
        limit = tolerance * float(wanted.abs().max())
        # Written so that a difference that is no number is refused, too.
        if not difference <= limit:
            raise DisagreementError(
                f"output {number} differs from the model's by {difference:.3g}, more than"
                f" {limit:.3g}"
            )
        largest = max(largest, difference)
    return largest


def random_like(examples: Sequence[torch.Tensor], seed: int) -> list[torch.Tensor]:
    """Inputs of the shapes of the examples; those that are not of real numbers stay as they are."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(x.shape, dtype=x.dtype, generator=generator).to(x.device)
        if x.is_floating_point()
        else x
        for x in examples
    ]
