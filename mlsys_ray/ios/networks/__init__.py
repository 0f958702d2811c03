"""The networks of the paper, ResNet and MobileNetV2, as plain modules with seeded weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from mlsys_ray.ios.networks.inception_v3 import InceptionV3
from mlsys_ray.ios.networks.layers import initialised
from mlsys_ray.ios.networks.mobilenet_v2 import MobileNetV2
from mlsys_ray.ios.networks.nasnet import NASNetALarge
from mlsys_ray.ios.networks.randwire import RandWire
from mlsys_ray.ios.networks.resnet import resnet18, resnet50
from mlsys_ray.ios.networks.squeezenet import SqueezeNet


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network that is built by name.

    Attributes:
        build: makes the module.
        input_shape: of one image, `(channels, height, width)`.
    """

    build: Callable[[], nn.Module]
    input_shape: tuple[int, int, int]


NETWORKS = {
    "inception_v3": Network(build=InceptionV3, input_shape=(3, 299, 299)),
    "nasnet_a_large": Network(build=NASNetALarge, input_shape=(3, 331, 331)),
    "randwire": Network(build=RandWire, input_shape=(3, 224, 224)),
    "squeezenet": Network(build=SqueezeNet, input_shape=(3, 224, 224)),
    "resnet18": Network(build=resnet18, input_shape=(3, 224, 224)),
    "resnet50": Network(build=resnet50, input_shape=(3, 224, 224)),
    "mobilenet_v2": Network(build=MobileNetV2, input_shape=(3, 224, 224)),
}


def build_network(name: str, seed: int = 0) -> nn.Module:
    """A network in evaluation mode with weights that follow from the seed.

    Raises:
        ValueError: there is no network of this name.
    """
    if name not in NETWORKS:
        raise ValueError(f"network {name!r} is unknown; accepted: {', '.join(NETWORKS)}")
    network = NETWORKS[name]
    return initialised(network.build, network.input_shape, seed)
