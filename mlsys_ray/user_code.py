"""Functions of a user's own modules, named by their import path."""

from __future__ import annotations

import importlib
from typing import Any


def import_function(path: str) -> Any:
    """What `package.module:function` names.

    Raises:
        ValueError: the path has another form, or cannot be imported.
    """
    module, _, function = path.partition(":")
    if not (module and function.isidentifier()):
        raise ValueError(f"model is {path!r}, must be package.module:function")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"model is {path!r}, which cannot be imported: {error}") from error
