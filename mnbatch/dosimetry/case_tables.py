"""Tables of counted cells, read row by row: one bad row has its reason and leaves the others alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mnbatch.csvfile import CsvError
from mnbatch.errors import StorageError, UsageError
from mnbatch.handed_table import Table, column_key, misfit, parse_table, unread
from mnbatch.intake import read_bytes, reason
from mnbatch.spelled_numbers import SpellingError, count_of, decimal_of

COUNT_COLUMN = re.compile(r"c(\d+)\+?")
RATE_COLUMN = re.compile(r"(?:x|mn|mnbn)_per_(1000|100)")
"""Events as a rate: the column says of how many cells."""
DOSE_PARTS = dict.fromkeys(("d", "dose", "d_gy", "dose_gy"), 1) | dict.fromkeys(("d_cgy", "dose_cgy"), 100)
DOSE_PARTS |= dict.fromkeys(("d_mgy", "dose_mgy"), 1000)
"""Columns of a known dose, and how many of their units a Gy has."""
_THOUSANDS = re.compile("[0-9]{3}")
READ = ("id", "n", "x", "endpoint", "scoring", "mode", "model_digest", "threshold")
NOT_FITTING = "\0"
"""Key under which a row says that it does not fit its table; no column has this name."""
SEPARATOR = "\1"
"""Key of what separates the fields of a row's table."""
MOST_EVENTS = 4
"""Micronuclei a cell: more than any dose makes; of a count below 20 000, cut in two at its thousands, less is left."""
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
        counts = cls._from_counts(row, columns, endpoint) if columns else cls._from_sums(row, endpoint)
        if NOT_FITTING in row:
            raise RowError(row[NOT_FITTING])
        return counts

    @classmethod
    def _from_sums(cls, row: Row, endpoint: str) -> CaseCounts:
        rate = next((name for name in row if RATE_COLUMN.fullmatch(name)), "x")
        for name in ("n", rate):
            if name not in row:
                raise RowError(f"there is no column {name.upper()}, and none of C0, C1, ...")
        if rate != "x" and "x" in row:
            raise RowError(f"there are the columns X and {rate.upper()}: keep one of them")
        cells = whole(row["n"], "N")
        events = whole(row["x"], "X") if rate == "x" else events_of(row, rate, cells, endpoint)
        if cells == 0:
            raise RowError("no cell was counted (N = 0)")
        if endpoint == "mnbn" and events > cells:
            raise RowError(f"X = {events} is more than N = {cells}, but a cell is counted once (endpoint mnbn)")
        if rate == "x":
            _refuse_cut_in_two(row, cells, events, endpoint)
        if events > MOST_EVENTS * cells:
            raise RowError(f"X = {events} in N = {cells} cells cannot be: was a number cut in two at its thousands?")
        return cls(cells, events)

    @classmethod
    def _from_counts(cls, row: Row, columns: list[tuple[int, str]], endpoint: str) -> CaseCounts:
        numbers = [k for k, _ in columns]
        if len(set(numbers)) < len(numbers):
            raise RowError("a column of C0, C1, ... is there twice")
        if numbers != list(range(len(numbers))):
            gap = next(k for k in range(len(numbers) + 1) if k not in numbers)
            raise RowError(f"there is no column C{gap}")
        if len(numbers) < 2:
            raise RowError("there is no column C1")
        counts = tuple(whole(row[name], name.upper()) for _, name in columns)
        cells = sum(counts)
        if cells == 0:
            raise RowError("no cell was counted (all of C0, C1, ... are 0)")
        if counts[1] >= 100 and counts[1] > MOST_EVENTS * counts[0]:
            raise RowError(
                f"C0 = {counts[0]} beside C1 = {counts[1]} cannot be: was a number cut in two at its thousands?"
            )
        _agrees(row, "n", cells)
        events = cells - counts[0] if endpoint == "mnbn" else sum(k * n for k, n in enumerate(counts))
        _agrees(row, "x", events)
        return cls(cells, events, counts)


def _refuse_cut_in_two(row: Row, cells: int, events: int, endpoint: str) -> None:
    """`A,3000,1,200` under id,N,X,note: X = 1 and the note 200, or X = 1,200 without a note? Both can be."""
    names = [name for name in row if name not in (NOT_FITTING, SEPARATOR)]
    following = names[names.index("x") + 1 : names.index("x") + 2]
    if row.get(SEPARATOR) != "," or not following or is_read(following[0]) or not 0 < events < 1000:
        return
    rest = row[following[0]]
    if not _THOUSANDS.fullmatch(rest):
        return
    together = 1000 * events + int(rest)
    if together <= (cells if endpoint == "mnbn" else MOST_EVENTS * cells):
        raise RowError(
            f"X = {events} and then {rest} under {following[0]}: was {events},{rest} meant? Write {together} for it; "
            f"else put the column {following[0]} before N"
        )


def events_of(row: Row, column: str, cells: int, endpoint: str) -> int:
    """Events of a column that gives them per 1000 or per 100 cells.

    Raises:
        RowError: no number, or a rate that no whole number of events among the cells gives.
    """
    kind, _, per = column.split("_")
    text = row[column]
    if kind != "x" and kind != endpoint:
        raise RowError(f"the column {column.upper()} is not of the endpoint {endpoint}")
    try:
        rate = decimal_of(text, row.get(SEPARATOR, ","), column.upper())
    except SpellingError as error:
        raise RowError(str(error)) from error
    decimals = re.split("[.,]", text)[1:]
    step, written = int(per) / max(cells, 1), 10.0 ** -len(decimals[0] if decimals else "")
    if step < 0.999 * written:
        raise RowError(f"{column.upper()} = {text} has too few decimals for N = {cells} cells: give the count, X")
    events = round(rate / step)
    # Half of the last decimal may have been rounded away; a little more for the arithmetic.
    if rate < 0 or abs(rate - events * step) > 0.5001 * written:
        raise RowError(f"{column.upper()} = {text} is what no whole number of events in N = {cells} cells gives")
    return events


def _agrees(row: Row, column: str, value: int) -> None:
    """A row that gives a sum in addition to its parts must give the right one."""
    text = row.get(column, "")
    if text and whole(text, column.upper()) != value:
        raise RowError(f"{column.upper()} = {text} does not agree with C0, C1, ... ({value})")


def table_name(source: Path | bytes) -> str:
    """How a message names a table: by its path, or as the one that was given."""
    return str(source) if isinstance(source, Path) else "that was given"


def read_rows(source: Path | bytes) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Keys of the columns (`column_key`) and (line, key -> text) of a table as `parse_table` reads it.

    A row that has not an entry for each column that is read says so under `NOT_FITTING`.

    Args:
        source: a file, or what it would hold.

    Raises:
        UsageError: no such file, not UTF-8, empty, or a column named twice.
        StorageError: the file cannot be read.
    """
    table = _table(source)
    header = [column_key(name) for name in table.columns]
    named = [name for name in header if name and is_read(name)]
    if len(set(named)) < len(named):
        raise UsageError(f"The table {table_name(source)} names a column twice.", "Remove one of them.")
    rows = []
    for line, cells in table.rows:
        values = [cell.strip() for cell in cells] + [""] * (len(header) - len(cells))
        row = dict(zip(header, values, strict=False)) | {SEPARATOR: table.separator}
        problem = misfit(cells, header, is_read)
        if problem:
            row[NOT_FITTING] = f"it has {problem}"
        rows.append((line, row))
    return header, rows


def is_read(column: str) -> bool:
    """Whether anything is taken from a column of this name; the others are a laboratory's own."""
    key = column_key(column)
    return key in READ or key in DOSE_PARTS or bool(COUNT_COLUMN.fullmatch(key) or RATE_COLUMN.fullmatch(key))


def unread_columns(source: Path | bytes, also: Sequence[str] = ()) -> str:
    """What is to be said of columns that nothing is taken from; "" where there are none.

    Args:
        also: names of columns that this kind of table is read for besides.
    """
    return unread(_table(source).columns, lambda name: is_read(name) or column_key(name) in also)


def _table(source: Path | bytes) -> Table:
    try:
        return parse_table(source if isinstance(source, bytes) else _data(source), ragged=True, needed=is_read)
    except CsvError as error:
        raise UsageError(
            f"The table {table_name(source)} cannot be used: {reason(error)}.",
            "Save it as 'CSV UTF-8'; its first line names the columns.",
        ) from error


def _data(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except FileNotFoundError as error:
        raise UsageError(f"There is no file {path}.", "Check the path.") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {reason(error)}.", "Check its permissions.") from error


def whole(text: str, what: str) -> int:
    """A count, see `mnbatch.spelled_numbers.count_of`.

    Raises:
        RowError: it is none.
    """
    try:
        return count_of(text, what)
    except SpellingError as error:
        raise RowError(str(error)) from error
