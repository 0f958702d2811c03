"""One local Ray cluster for all tests of this folder."""

import pytest

from mlsys_ray.cluster.session import ray_session


@pytest.fixture(scope="session")
def cluster():
    with ray_session(num_cpus=2) as description:
        yield description
