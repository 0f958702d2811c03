import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that a comparison starts import the contenders beside the tests by name."""
    here = str(Path(__file__).parent)
    monkeypatch.syspath_prepend(here)
    inherited = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [here, inherited])))
