"""Both engines hold to what every engine must."""

import pytest

from mlsys_ray.ios.engines.onednn.binding import loaded
from mlsys_ray.ios.engines.onednn.engine import OneDNNEngine
from mlsys_ray.ios.engines.pytorch import PyTorchEngine
from mlsys_ray.testing import EngineTests


class TestPyTorch(EngineTests):
    def make(self, graph, schedule):
        return PyTorchEngine(graph, schedule)


@pytest.mark.skipif(loaded() is None, reason="onednn-cpu-gomp is not installed")
class TestOneDNN(EngineTests):
    def make(self, graph, schedule):
        return OneDNNEngine(graph, schedule, 2)
