"""Networks that a user names: built-in ones, and modules of their own."""

from __future__ import annotations

import torch
from torch import nn

from mlsys_ray.ios.networks import NETWORKS, build_network
from mlsys_ray.user_code import import_function


def make_model(
    network: str | None,
    model: str | None = None,
    input_shape: tuple[int, ...] | None = None,
    batch_size: int = 1,
    seed: int = 0,
) -> tuple[nn.Module, torch.Tensor]:
    """A network in evaluation mode, and an example input for it.

    Args:
        network: name of a built-in one; None if `model` is given.
        model: `package.module:function`, which is called without arguments and gives a module.
        input_shape: of one sample, with `model`.
        batch_size: samples in the example.
        seed: of the built-in network's weights and the example.

    Raises:
        ValueError: not exactly one of `network` and `model` is given, or one cannot be used.
    """
    if (network is None) == (model is None):
        raise ValueError("give either network or model")
    if batch_size < 1:
        raise ValueError(f"batch_size must be 1 or more, is {batch_size}")
    if network is not None:
        module = build_network(network, seed)
        shape: tuple[int, ...] = NETWORKS[network].input_shape
    else:
        assert model is not None
        if not input_shape:
            raise ValueError("a model needs input_shape, the shape of one sample")
        module, shape = _load(model).eval(), input_shape
    generator = torch.Generator().manual_seed(seed)
    return module, torch.randn(batch_size, *shape, generator=generator)


def _load(path: str) -> nn.Module:
    module = import_function(path)()
    if not isinstance(module, nn.Module):
        raise ValueError(f"model {path!r} gives {type(module).__name__}, not a torch.nn.Module")
    return module
