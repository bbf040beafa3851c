"""Calibration data from a table: counted cells at known doses, checked row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mnbatch.dosimetry.case_tables import (
    DOSE_PARTS,
    SEPARATOR,
    CaseCounts,
    RowError,
    is_read,
    read_rows,
    table_name,
    unread_columns,
)
from mnbatch.dosimetry.likelihood_fits import DosePoint
from mnbatch.dosimetry.plausible_curves import HIGHEST_DOSE
from mnbatch.errors import CurveError, UsageError
from mnbatch.spelled_numbers import SpellingError, decimal_of, spoiled_name

_COLUMNS = "Columns are D (or dose_gy, dose_cgy, dose_mgy) and C0..C5, or D, N and X."
PERSON = "donor"
"""Column of whose blood it is; taken from a calibration table where it is there."""
_UNNAMED_UNIT = ("d", "dose")

_Rows = Sequence[tuple[int, Mapping[str, str]]]


def read_points(source: Path | bytes, endpoint: str) -> list[DosePoint]:
    """Read a calibration table: a column of the dose with C0..C5, or with N and X.

    Args:
        endpoint: "mn" counts micronuclei, "mnbn" counts cells with at least one.

    Raises:
        UsageError: the file is absent, empty, misses a column, has two of the dose, or leaves its unit open.
        CurveError: rows that cannot be used; every one is named, and none is left out in silence: a curve without
            one of its doses is not the curve that the laboratory asked for.
        StorageError: the file cannot be read.
    """
    path = table_name(source)
    header, rows = read_rows(source)
    column = _dose_column(header, path)
    points, problems = [], _copied_rows(header, rows)
    for line, row in rows:
        try:
            points.append(_point(row, column, endpoint, f"line {line}"))
        except RowError as problem:
            problems.append(f"line {line}: {problem}")
    if problems:
        raise CurveError(
            f"The calibration table {path} has rows that cannot be used: {'; '.join(problems)}.",
            "Correct these lines; none is left out.",
        )
    if not points:
        raise UsageError(f"The calibration table {path} has no row.", "Give one row a dose.")
    _refuse_open_unit(points, column, path)
    return points


def table_notes(source: Path | bytes) -> list[str]:
    """What is to be said of a calibration table that can be used: columns without a use, lines that are the same."""
    _, rows = read_rows(source)
    notes = [unread_columns(source, also=(PERSON,))]
    notes += [f"lines {first} and {second} are the same: is one a copy?" for first, second in _pairs(rows)]
    return [note for note in notes if note]


def _dose_column(header: Sequence[str], path: str) -> str:
    found = [name for name in header if name in DOSE_PARTS]
    if not found:
        raise UsageError(f"The calibration table {path} has no column D (dose in Gy).", _COLUMNS)
    if len(found) > 1:
        raise UsageError(
            f"The calibration table {path} has several columns of the dose: {', '.join(found)}.", "Keep one of them."
        )
    return found[0]


def _point(row: Mapping[str, str], column: str, endpoint: str, name: str) -> DosePoint:
    try:
        stated = decimal_of(row[column], row[SEPARATOR], "the dose")
    except SpellingError as error:
        raise RowError(str(error)) from error
    if stated < 0:
        raise RowError(f"the dose '{row[column]}' is no number of 0 Gy or more")
    if spoiled := spoiled_name(row.get(PERSON, "")):
        raise RowError(spoiled)
    case = CaseCounts.from_row(row, endpoint)
    return DosePoint(
        dose=stated / DOSE_PARTS[column],
        cells=case.cells,
        events=case.events,
        counts=case.counts,
        name=name,
        donor=row.get(PERSON, ""),
    )


def _refuse_open_unit(points: Sequence[DosePoint], column: str, path: str) -> None:
    highest = max(point.dose for point in points)
    if column in _UNNAMED_UNIT and highest > HIGHEST_DOSE:
        raise UsageError(
            f"The calibration table {path} has doses up to {highest:g} in the column {column}, which is in Gy.",
            "Name the column dose_cgy or dose_mgy; or dose_gy if they are Gy.",
        )


def _copied_rows(header: Sequence[str], rows: _Rows) -> list[str]:
    """Lines that are the same to the laboratory's own columns (slide, donor) would weigh double."""
    own = [name for name in header if not is_read(name)]
    lines = dict(rows)
    return [
        f"line {second}: it says what line {first} says"
        for first, second in _pairs(rows)
        if any(lines[first].get(name) for name in (*own, "id"))
    ]


def _pairs(rows: _Rows) -> list[tuple[int, int]]:
    first: dict[tuple[str, ...], int] = {}
    pairs = [(first.setdefault(tuple(row.values()), line), line) for line, row in rows]
    return [(one, other) for one, other in pairs if one != other]
