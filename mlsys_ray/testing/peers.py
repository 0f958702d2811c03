"""Access to other tools that tests and benchmarks compare with."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType


def import_byzfl(module: str) -> ModuleType:
    """`byzfl.<module>` without what byzfl imports for training (torchvision, seaborn).

    Raises:
        ImportError: byzfl is not installed.
    """
    if "byzfl" not in sys.modules:
        spec = importlib.util.find_spec("byzfl")
        if spec is None:
            raise ImportError("byzfl is not installed: pip install --no-deps byzfl==0.0.11")
        package = ModuleType("byzfl")
        package.__path__ = list(spec.submodule_search_locations or [])
        sys.modules["byzfl"] = package
    return importlib.import_module(f"byzfl.{module}")
