"""Declared columns: name, unit, meaning and value of a table's column in one place.

Header, rows, the data dictionary and the types of a DataFrame come from one declaration, so that a value cannot get
under another header.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from mnbatch.csvfile import Value, csv_line, shown

Row = TypeVar("Row")
Part = TypeVar("Part")

Kind = Literal["text", "count", "number", "yes/no"]
"""What a column holds: text; whole numbers; numbers; 1 or 0."""

DTYPES: dict[Kind, str] = {"text": "string", "count": "Int64", "number": "Float64", "yes/no": "boolean"}
"""Types of pandas; all of them have a value for "there is no such number"."""


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """A column of a table.

    Attributes:
        name: in the header; never changes once it was published.
        unit: unit, or the values that it may have.
        doc: what it means, one sentence or two; Markdown.
        value: of a row; None leaves the field empty: there is no such number.
        kind: see `Kind`.
    """

    name: str
    unit: str
    doc: str
    value: Callable[[Row], Value]
    kind: Kind = "text"

    def of(self, part: Callable[[Part], Row | None]) -> Column[Part]:
        """The same column of a row that holds `Row` as a part; empty where the part is None."""

        def value(row: Part) -> Value:
            found = part(row)
            return None if found is None else self.value(found)

        return Column(self.name, self.unit, self.doc, value, self.kind)


Columns = tuple[Column[Row], ...]


def of_part(columns: Sequence[Column[Row]], part: Callable[[Part], Row | None]) -> Columns[Part]:
    """Columns of a part as columns of the whole row; see `Column.of`."""
    return tuple(column.of(part) for column in columns)


@dataclass(frozen=True, slots=True)
class Table(Generic[Row]):
    """A CSV file that reports write.

    Attributes:
        name: of the file.
        doc: what a row is.
    """

    name: str
    doc: str
    columns: Columns[Row]

    def __post_init__(self) -> None:
        names = self.header
        if len(set(names)) < len(names):
            raise ValueError(f"{self.name} has a column twice")

    @property
    def header(self) -> tuple[str, ...]:
        """Names of the columns, in their order."""
        return tuple(column.name for column in self.columns)

    @property
    def dtypes(self) -> dict[str, str]:
        """Types of the columns for pandas."""
        return {column.name: DTYPES[column.kind] for column in self.columns}

    def row(self, row: Row) -> list[Value]:
        """Values in the order of the header."""
        return [column.value(row) for column in self.columns]

    def line(self, row: Row) -> str:
        """A row of the file, without the end of its line."""
        return csv_line(self.row(row), shown)

    def stream(self, lines: Iterable[str]) -> Iterator[bytes]:
        """The file, piece by piece: UTF-8 with a byte order mark, formulas made harmless (see `mnbatch.csvfile`).

        Args:
            lines: from `line`.
        """
        yield codecs.BOM_UTF8 + csv_line(self.header, shown).encode() + b"\n"
        for line in lines:
            yield line.encode() + b"\n"

    def csv(self, rows: Iterable[Row]) -> bytes:
        """The same as a whole."""
        return b"".join(self.stream(map(self.line, rows)))
