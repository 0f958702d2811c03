"""What all tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from mlsys_ray.cluster.session import configure_environment

# Before anything imports ray, as collecting doctests does.
configure_environment()

# How long an example takes says how busy the machine is.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture
def shared_data() -> Path:
    """The folder with real data sets and traces, for tests that need them."""
    place = os.environ.get("MLSYS_RAY_DATA")
    if not place or not Path(place).is_dir():
        pytest.skip("MLSYS_RAY_DATA names no folder with data sets")
    return Path(place)


@pytest.fixture(autouse=True)
def private_cache(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No test reads or writes the user's cache of this package."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
