"""Traces that several tests share."""

import pytest

from mlsys_ray.fireplace.traces.microvm import microvm


@pytest.fixture(scope="session")
def history():
    return microvm(num_vms=20_000, alive=450, num_functions=200, seed=100)


@pytest.fixture(scope="session")
def present():
    return microvm(num_vms=20_000, alive=450, num_functions=200, seed=0)
