"""One local Ray cluster for all tests of this folder."""

import os

import pytest

from mlsys_ray.cluster.session import ray_session


@pytest.fixture(scope="session")
def user_modules(tmp_path_factory):
    """A folder from which worker processes import, too."""
    folder = tmp_path_factory.mktemp("user_modules")
    with pytest.MonkeyPatch.context() as patch:
        # Workers inherit it when Ray starts.
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        patch.syspath_prepend(folder)
        yield folder


@pytest.fixture(scope="session")
def cluster(user_modules):
    with ray_session(num_cpus=2) as description:
        yield description
