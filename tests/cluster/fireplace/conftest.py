"""Traces that several tests share."""

import pytest

from mlsys_ray.fireplace.traces.microvm import microvm


@pytest.fixture(scope="session")
def history():
    return microvm(num_vms=2000, alive=100, num_functions=50, seed=100)
