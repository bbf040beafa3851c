"""The data of a calibration curve: counted cells at known doses, read from a table and checked row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mnbatch.assay.case_table import CaseCounts, RowError, number_of, read_rows
from mnbatch.errors import CurveError, UsageError

Floats = npt.NDArray[np.float64]

DOSE_COLUMNS = ("d", "dose", "dose_gy")


@dataclass(frozen=True, slots=True)
class DosePoint:
    """Cells counted at one known dose.

    Attributes:
        dose: Gy, at least 0.
        cells: N, counted binucleated cells, at least 1.
        events: X, micronuclei (endpoint mn) or cells with at least one (endpoint mnbn).
        counts: C0, C1, ... cells with k micronuclei; empty where only N and X are known.
        name: what the point is called in messages (line of the table, slide).
    """

    dose: float
    cells: int
    events: int
    counts: tuple[int, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """Points as arrays, all of length n."""

    dose: Floats
    cells: Floats
    events: Floats

    @classmethod
    def of(cls, points: Sequence[DosePoint]) -> Observations:
        """Arrays of the points, in their order."""
        columns = [[p.dose for p in points], [p.cells for p in points], [p.events for p in points]]
        dose, cells, events = (np.asarray(column, dtype=np.float64) for column in columns)
        return cls(dose, cells, events)


def read_points(path: Path, endpoint: str) -> list[DosePoint]:
    """Read a calibration table: columns D and C0..C5, or D, N and X; comma or semicolon, first line names.

    Args:
        endpoint: "mn" counts micronuclei, "mnbn" counts cells with at least one.

    Raises:
        UsageError: the file is absent, empty, or misses a column.
        CurveError: rows that cannot be used; every one is named, and none is left out in silence: a curve without
            one of its doses is not the curve that the laboratory asked for.
        StorageError: the file cannot be read.
    """
    header, rows = read_rows(path)
    dose_column = next((name for name in DOSE_COLUMNS if name in header), None)
    if dose_column is None:
        raise UsageError(
            f"The calibration table {path} has no column D (dose in Gy).", "Columns are D and C0..C5, or D, N and X."
        )
    points, problems = [], []
    for line, row in rows:
        try:
            points.append(_point(row, dose_column, endpoint, f"line {line}"))
        except RowError as problem:
            problems.append(f"line {line}: {problem}")
    if problems:
        raise CurveError(f"The calibration table {path} has rows that cannot be used: {'; '.join(problems)}.")
    if not points:
        raise UsageError(f"The calibration table {path} has no row.", "Give one row a dose.")
    return points


def _point(row: Mapping[str, str], dose_column: str, endpoint: str, name: str) -> DosePoint:
    dose = number_of(row[dose_column])
    if dose is None or dose < 0:
        raise RowError(f"the dose '{row[dose_column]}' is no number of 0 Gy or more")
    case = CaseCounts.from_row(row, endpoint)
    return DosePoint(dose, case.cells, case.events, case.counts, name)
