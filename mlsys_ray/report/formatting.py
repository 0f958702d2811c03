"""Numbers, times and tables as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_MISSING = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"
_THIN_SPACE = "\N{NARROW NO-BREAK SPACE}"
MAX_ROWS = 200


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """A table ready to show.

    Attributes:
        columns: headings.
        numeric: whether a column holds numbers, to be set flush right.
        rows: texts; the first of them, where there are many.
        num_rows: rows of the whole table.
    """

    columns: list[str]
    numeric: list[bool]
    rows: list[tuple[str, ...]]
    num_rows: int


def text_table(frame: pd.DataFrame, max_rows: int = MAX_ROWS) -> TextTable:
    """The head of a table, each column of numbers with the same number of decimals."""
    head = frame.head(max_rows)
    columns = [head.iloc[:, index].tolist() for index in range(head.shape[1])]
    texts = [column_texts(column) for column in columns]
    return TextTable(
        columns=[str(name) for name in frame.columns],
        numeric=[all(is_number(value) or value is None for value in column) for column in columns],
        rows=[tuple(column[row] for column in texts) for row in range(len(head))],
        num_rows=len(frame),
    )


def is_number(value: Any) -> bool:
    """Whether `value` is a number, booleans not counted."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def column_texts(values: Sequence[Any]) -> list[str]:
    """Texts of a column: whole numbers without decimals, others up to four figures of the largest.

    >>> column_texts([0.04, 0.13333]), column_texts([0, 0.5])
    (['0.0400', '0.1333'], ['0.0', '0.5'])
    """
    sizes = [abs(value) for value in values if is_number(value) and math.isfinite(value)]
    sizes = [size for size in sizes if size]
    if all(float(size).is_integer() and size < 1e15 for size in sizes):
        return [value_text(value) for value in values]
    decimals = max(0, 3 - math.floor(math.log10(max(sizes))))
    if decimals > 6 or min(sizes) < 10**-decimals:
        return [value_text(value) for value in values]
    # 0.0400 and 0.1200 say no more than 0.04 and 0.12.
    while decimals and all(round(size, decimals) == round(size, decimals - 1) for size in sizes):
        decimals -= 1
    return [
        f"{value:.{decimals}f}".replace("-", _MINUS)
        if is_number(value) and math.isfinite(value)
        else value_text(value)
        for value in values
    ]


def value_text(value: Any) -> str:
    """One value, numbers with four figures.

    >>> value_text(0.123456), value_text(2500.0), value_text(True), value_text([1, 2])
    ('0.1235', '2\u202f500', 'yes', '1, 2')
    """
    match value:
        case bool():
            return "yes" if value else "no"
        case None:
            return _MISSING
        case float() if math.isnan(value):
            return _MISSING
        case float() if math.isinf(value):
            return "∞" if value > 0 else _MINUS + "∞"
        case int() | float() if float(value).is_integer() and abs(value) < 1e15:
            return f"{int(value):,}".replace(",", _THIN_SPACE).replace("-", _MINUS)
        case float():
            return f"{value:.4g}".replace("-", _MINUS)
        case list():
            return ", ".join(map(value_text, value)) or "none"
    return str(value)


def setting_text(name: str, value: Any) -> str:
    """A value of a config or an environment, exact; sizes in bytes also in GiB."""
    if name.endswith("_bytes") and is_number(value):
        return f"{value / 2**30:.1f} GiB"
    match value:
        case bool():
            return "yes" if value else "no"
        case None:
            return _MISSING
        case list():
            return ", ".join(setting_text(name, item) for item in value) or "none"
    return str(value)


def duration_text(seconds: float | None) -> str:
    """Wall time.

    >>> duration_text(4.25), duration_text(192), duration_text(8000)
    ('4.2 s', '3 min 12 s', '2 h 13 min')
    """
    if seconds is None:
        return _MISSING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
