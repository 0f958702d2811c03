from __future__ import annotations

import pytest

from mlsys_ray.byzshield.aggregation import coordinatewise, geometry


@pytest.fixture(params=["compiled", "numpy"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to compute: numba's kernels, and what is used where numba is missing."""
    if request.param == "numpy":
        for module in (coordinatewise, geometry):
            monkeypatch.setattr(module, "load_kernels", lambda: None)
    return request.param
