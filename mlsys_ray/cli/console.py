"""What all commands share: where text goes, and what a user's mistake looks like."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

WIDE = 140
"""Width of tables that are not printed to a terminal [characters]."""


class UsageError(Exception):
    """A command was asked for something it does not accept; the text says what is."""


@contextmanager
def usage_errors() -> Iterator[None]:
    """Inside, a ValueError is the user's mistake and not the program's."""
    try:
        yield
    except ValueError as error:
        raise UsageError(str(error)) from error


def say(text: str) -> None:
    """Print a line for people, on stderr."""
    print(text, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print a result for programs, on stdout."""
    from mlsys_ray.cluster import plain_json

    print(plain_json.dumps(plain_json.to_plain(value), indent=1))


def print_table(records: Sequence[Mapping[str, Any]], title: str | None = None) -> None:
    """Print records of the same keys as a table, on stderr; None is a dash."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=title and escape(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False
    )
    for name in records[0]:
        numeric = all(isinstance(row[name], int | float | None) for row in records)
        table.add_column(
            name.replace("_", " "), justify="right" if numeric else "left", overflow="fold"
        )
    for row in records:
        table.add_row(*(_cell(value) for value in row.values()))
    # A file or a pipe has no width of its own.
    Console(stderr=True, width=None if sys.stderr.isatty() else WIDE).print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
