"""Tables of recorded traces: what is broken in them is told by line, never silently dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

LISTED = 5
"""Broken rows that an error names, of each kind."""


@dataclass
class Broken:
    """Rows that could not be used.

    Attributes:
        lines: reason -> lines of the file, from 1 on, the header being line 1.
    """

    lines: dict[str, list[int]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many rows are broken."""
        return sum(map(len, self.lines.values()))

    def __str__(self) -> str:
        """One clause for each reason, with the first lines."""
        return "; ".join(
            f"{reason}: {len(lines)} (lines {', '.join(map(str, lines[:LISTED]))}"
            f"{', ...' if len(lines) > LISTED else ''})"
            for reason, lines in self.lines.items()
        )


class Rows:
    """The rows of a table, less those found broken so far.

    Args:
        table: any frame; its index is made the line numbers.
        source: file, for errors.
        columns: that must be there.

    Attributes:
        table: the rows left, by line.
        broken: those set aside.

    Raises:
        ValueError: a column is missing, or there is no row.
    """

    def __init__(self, table: pd.DataFrame, source: Path, columns: Sequence[str]) -> None:
        if missing := [column for column in columns if column not in table]:
            raise ValueError(
                f"{source} has no column {', '.join(missing)};"
                f" it has {', '.join(map(str, table.columns[:12]))}"
            )
        if table.empty:
            raise ValueError(f"{source} holds no row")
        self.source = source
        self.broken = Broken()
        self.table = table.set_axis(np.arange(len(table)) + 2, axis=0)

    @classmethod
    def read_csv(cls, path: Path, columns: Sequence[str], header: bool = True) -> Rows:
        """Read a CSV file as text, compressed or not; see the class.

        Args:
            path: the file.
            columns: that must be there, and the names of all in order if there is no header.
            header: whether the first line names the columns.
        """
        names = None if header else list(columns)
        try:
            table = pd.read_csv(path, dtype=str, names=names, header=0 if header else None)
        except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is no CSV file: {error}") from error
        rows = cls(table, path, columns)
        if not header:
            rows.table.index -= 1
        return rows

    def number(self, column: str, *, least: float = -np.inf, above: float = -np.inf) -> pd.Series:
        """A column as float64; rows where it is no finite number in range are broken."""
        values = pd.to_numeric(self.table[column], errors="coerce").astype(float)
        finite = pd.Series(np.isfinite(values), values.index)
        self.refuse(~finite, f"{column} is not a number")
        wanted = f"at least {least:g}" if np.isfinite(least) else f"above {above:g}"
        self.refuse(finite & ~((values >= least) & (values > above)), f"{column} is not {wanted}")
        return values.loc[self.table.index]

    def text(self, column: str) -> pd.Series:
        """A column as it is; rows where it is empty are broken."""
        self.refuse(self.table[column].isna(), f"{column} is empty")
        return self.table[column]

    def refuse(self, rows: pd.Series[bool], reason: str) -> None:
        """Set rows aside, bool by line; lines that are set aside already are skipped."""
        lines = [line for line in rows.index[rows] if line in self.table.index]
        if lines:
            self.broken.lines.setdefault(reason, []).extend(lines)
            self.table = self.table.drop(index=lines)

    @property
    def index(self) -> pd.Index:
        """Lines of the rows left."""
        return self.table.index

    def close(self, *, skip_broken: bool) -> Broken:
        """End the reading.

        Raises:
            ValueError: there are broken rows and they are not to be skipped, or none is left.
        """
        if self.broken.count and not skip_broken:
            raise ValueError(
                f"{self.source} has {self.broken.count} broken rows: {self.broken};"
                " they can be skipped by skip_broken"
            )
        if self.table.empty:
            raise ValueError(f"{self.source}: every row is broken: {self.broken}")
        return self.broken
