from functools import cache

import pytest
import torch

from mlsys_ray.ios.capture import capture
from mlsys_ray.ios.networks import NETWORKS, build_network


@cache
def _built(name):
    module = build_network(name)
    x = torch.randn(1, *NETWORKS[name].input_shape, generator=torch.Generator().manual_seed(1))
    return module, x, capture(module, [x])


@pytest.fixture(scope="session")
def built():
    """The module of a name, an input, and what was captured of it; each made once."""
    return _built
