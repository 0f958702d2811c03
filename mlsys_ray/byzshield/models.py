"""Models to train, and their parameters as one flat vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

from mlsys_ray.byzshield.resnet import InputShape, resnet18
from mlsys_ray.user_code import import_function


def small_cnn(input_shape: InputShape, num_classes: int) -> torch.nn.Module:
    """Two convolutions and two dense layers for images of at least 4 x 4 pixels.

    No batch normalisation: its running statistics would be the workers' word alone.
    """
    from torch import nn

    channels, height, width = input_shape
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * (height // 4) * (width // 4), 64),
        nn.ReLU(),
        nn.Linear(64, num_classes),
    )


MODELS: dict[str, Callable[[InputShape, int], torch.nn.Module]] = {
    "cnn": small_cnn,
    "resnet18": resnet18,
}


def check_model(name: str) -> None:
    """Refuse a name that cannot be a model.

    Raises:
        ValueError: neither a key of `MODELS` nor of the form `package.module:function`.
    """
    module, _, function = name.partition(":")
    if name not in MODELS and not (module and function.isidentifier()):
        raise ValueError(
            f"model is {name!r}, must be {', '.join(MODELS)} or package.module:function"
        )


def make_model(
    name: str, input_shape: InputShape, num_classes: int, seed: int = 0
) -> torch.nn.Module:
    """Build a model with seeded initial weights; torch's own generator is left as it was.

    Raises:
        ValueError: the name is none, or its function cannot be imported.
    """
    import torch

    build = _model_function(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(input_shape, num_classes)


def _model_function(name: str) -> Callable[[InputShape, int], torch.nn.Module]:
    check_model(name)
    return MODELS[name] if name in MODELS else import_function(name)


def flatten_parameters(model: torch.nn.Module) -> np.ndarray:
    """All parameters as a new float32 `[d]`, in the order of `model.parameters()`."""
    import torch

    return torch.nn.utils.parameters_to_vector(model.parameters()).detach().numpy().copy()


def load_parameters(model: torch.nn.Module, vector: np.ndarray) -> None:
    """Copy float32 `[d]` into the model's parameters.

    Raises:
        ValueError: the vector has another length than the model has parameters.
    """
    import torch

    size = sum(parameter.numel() for parameter in model.parameters())
    if vector.shape != (size,):
        raise ValueError(f"the vector has shape {vector.shape}, the model needs ({size},)")
    torch.nn.utils.vector_to_parameters(torch.from_numpy(vector.copy()), model.parameters())
