"""JSON for configs, metrics and summaries: strict, so that any reader can parse it.

JSON has no NaN or infinity; they are written as the strings "NaN", "Infinity" and "-Infinity",
so that a diverged loss is told from a missing one, and `loads` gives floats back.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import math
from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def to_plain(value: Any) -> Any:
    """Make `value` of dicts, lists, strings, numbers, booleans and None only.

    Dataclasses become dicts (nested ones with their name as "class", which tells two kinds of
    attack apart), arrays and tensors lists, classes and functions their import path.

    Raises:
        ValueError: there is no JSON for the type of a value.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _nested(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    return _nested(value)


def _nested(value: Any) -> Any:
    match value:
        case enum.Enum():
            return value.name
        case None | bool() | int() | str():
            return value
        case float():
            return _finite_or_name(float(value))
        case PathLike():
            return fspath(value)
        case Mapping():
            return {str(key): _nested(item) for key, item in value.items()}
        case list() | tuple():
            return [_nested(item) for item in value]
        case set() | frozenset():
            return sorted((_nested(item) for item in value), key=repr)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"class": type(value).__name__, **to_plain(value)}
    if isinstance(value, type) or inspect.isroutine(value):
        return f"{value.__module__}:{value.__qualname__}"
    if hasattr(value, "tolist"):  # numpy scalars and arrays, torch tensors
        return _nested(value.tolist())
    raise ValueError(
        f"{value!r} of type {type(value).__name__} cannot be written as JSON; give numbers,"
        " strings, paths, lists, mappings, dataclasses or arrays"
    )


def _finite_or_name(number: float) -> float | str:
    if math.isfinite(number):
        return number
    if math.isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"


def dumps(value: Any, *, indent: int | None = None) -> str:
    """JSON text of `to_plain(value)`."""
    return json.dumps(to_plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def loads(text: str | bytes) -> Any:
    """Read JSON text, with the names of NaN and infinity turned back into floats.

    Raises:
        ValueError: the text is not JSON.
    """
    return _restore(json.loads(text))


def _restore(value: Any) -> Any:
    match value:
        case str():
            return _NON_FINITE.get(value, value)
        case dict():
            return {key: _restore(item) for key, item in value.items()}
        case list():
            return [_restore(item) for item in value]
    return value
