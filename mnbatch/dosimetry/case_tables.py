"""Tables of counted cells, read row by row: one bad row has its reason and leaves the others alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mnbatch.csvfile import CsvError, parse_table
from mnbatch.errors import StorageError, UsageError
from mnbatch.intake import read_bytes, reason

COUNT_COLUMN = re.compile(r"c(\d+)\+?")
TOO_MANY = "\0"
"""Key under which a row says that it does not fit its table; no column has this name."""
Row = Mapping[str, str]


class RowError(ValueError):
    """Why a row cannot be used; a short sentence without a full stop."""


@dataclass(frozen=True, slots=True)
class CaseCounts:
    """Cells and events of one row.

    Attributes:
        cells: N, at least 1.
        events: X: micronuclei (mn) or cells with at least one (mnbn).
        counts: C0, C1, ...; empty where the row gives N and X only.
    """

    cells: int
    events: int
    counts: tuple[int, ...] = ()

    @classmethod
    def from_row(cls, row: Row, endpoint: str) -> CaseCounts:
        """Counts from columns C0, C1, ... or, where the table has none, from N and X.

        Raises:
            RowError: a column is missing, empty, negative or not whole; no cell; more cells with events than cells.
        """
        columns = sorted((int(found[1]), name) for name in row if (found := COUNT_COLUMN.fullmatch(name)))
        if columns:
            return _fitting(row, cls._from_counts(row, columns, endpoint))
        for name in ("n", "x"):
            if name not in row:
                raise RowError(f"there is no column {name.upper()}, and none of C0, C1, ...")
        cells, events = whole(row["n"], "N"), whole(row["x"], "X")
        if cells == 0:
            raise RowError("no cell was counted (N = 0)")
        if endpoint == "mnbn" and events > cells:
            raise RowError(f"X = {events} is more than N = {cells}, but a cell is counted once (endpoint mnbn)")
        return _fitting(row, cls(cells, events))

    @classmethod
    def _from_counts(cls, row: Row, columns: list[tuple[int, str]], endpoint: str) -> CaseCounts:
        numbers = [k for k, _ in columns]
        if numbers != list(range(len(numbers))):
            gap = next(k for k in range(len(numbers) + 1) if k not in numbers)
            raise RowError(f"there is no column C{gap}")
        if len(numbers) < 2:
            raise RowError("there is no column C1")
        counts = tuple(whole(row[name], name.upper()) for _, name in columns)
        cells = sum(counts)
        if cells == 0:
            raise RowError("no cell was counted (all of C0, C1, ... are 0)")
        _agrees(row, "n", cells)
        events = cells - counts[0] if endpoint == "mnbn" else sum(k * n for k, n in enumerate(counts))
        _agrees(row, "x", events)
        return cls(cells, events, counts)


def _fitting(row: Row, counts: CaseCounts) -> CaseCounts:
    if TOO_MANY in row:
        raise RowError(row[TOO_MANY])
    return counts


def _agrees(row: Row, column: str, value: int) -> None:
    """A row that gives a sum in addition to its parts must give the right one."""
    text = row.get(column, "")
    if text and number_of(text) != value:
        raise RowError(f"{column.upper()} = {text} does not agree with C0, C1, ... ({value})")


def table_name(source: Path | bytes) -> str:
    """How a message names a table: by its path, or as the one that was given."""
    return str(source) if isinstance(source, Path) else "that was given"


def read_rows(source: Path | bytes) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Header (lower case) and (line, column -> text) of a CSV file: comma, semicolon or tab; empty lines are skipped.

    With semicolons numbers may have a decimal comma. A row with more entries than columns has `TOO_MANY` among them.

    Args:
        source: a file, or what it would hold.

    Raises:
        UsageError: no such file, not UTF-8, empty, or a column named twice.
        StorageError: the file cannot be read.
    """
    path = table_name(source)
    try:
        table = parse_table(source if isinstance(source, bytes) else _data(source), ragged=True)
    except CsvError as error:
        raise UsageError(
            f"The table {path} cannot be used: {reason(error)}.",
            "Save it as 'CSV UTF-8'; its first line names the columns.",
        ) from error
    header = [name.lower() for name in table.columns]
    named = [name for name in header if name]
    if len(set(named)) < len(named):
        raise UsageError(f"The table {path} names a column twice.", "Remove one of them.")
    rows = []
    for line, cells in table.rows:
        values = [cell.strip() for cell in cells] + [""] * (len(header) - len(cells))
        if table.separator == ";":
            values = [value.replace(",", ".") if number_of(value.replace(",", ".")) is not None else value
                      for value in values]  # fmt: skip
        row = dict(zip(header, values, strict=False))
        if any(values[len(header) :]):
            row[TOO_MANY] = f"it has {len(values)} entries for {len(header)} columns"
        rows.append((line, row))
    return header, rows


def _data(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except FileNotFoundError as error:
        raise UsageError(f"There is no file {path}.", "Check the path.") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {reason(error)}.", "Check its permissions.") from error


def number_of(text: str) -> float | None:
    """The finite number that `text` is, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value - value == 0 else None


def whole(text: str, what: str) -> int:
    """A count: a whole number of 0 or more ("12" or "12.0").

    Raises:
        RowError: anything else.
    """
    if not text:
        raise RowError(f"{what} is empty")
    value = number_of(text)
    if value is None:
        raise RowError(f"{what} = '{text}' is not a number")
    if value < 0:
        raise RowError(f"{what} = {text} is negative")
    if value != int(value):
        raise RowError(f"{what} = {text} is not a whole number")
    return int(value)
