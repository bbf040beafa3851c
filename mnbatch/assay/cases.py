"""cases.csv: donors as bare counts, without any image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mnbatch.assay.case_table import CaseCounts, Row, RowError, read_rows
from mnbatch.assay.curve import Endpoint
from mnbatch.assay.dose_records import Case

ENDPOINTS = ("mn", "mnbn")
_SCORING = {"scoring": "mode", "mode": "mode", "model_digest": "model_digest", "threshold": "threshold"}


def read_cases(path: Path, endpoint: Endpoint) -> list[Case]:
    """Cases of a table: columns id and C0..C5 (or id, N and X); may have endpoint, scoring, model_digest, threshold.

    A row that cannot be used becomes a case with its problem; so does every row of a table without a needed column.

    Args:
        endpoint: the curve's: what X means in a row that does not say.

    Raises:
        UsageError: no such file, not UTF-8, empty, or a column named twice.
        StorageError: the file cannot be read.
    """
    _, rows = read_rows(path)
    seen: dict[str, int] = {}
    cases = []
    for line, row in rows:
        case = _case(row, line, endpoint)
        if case.id in seen:
            case = replace(case, note=f"the id stands in line {seen[case.id]}, too")
        seen.setdefault(case.id, line)
        cases.append(case)
    return cases


def _case(row: Row, line: int, curve_endpoint: Endpoint) -> Case:
    name = row.get("id", "")
    scoring = {key: row[column] for column, key in _SCORING.items() if row.get(column)}
    endpoint = row.get("endpoint", "").lower()
    if endpoint:
        scoring["endpoint"] = endpoint
    try:
        if endpoint and endpoint not in ENDPOINTS:
            raise RowError(f"endpoint '{endpoint}' is neither mn nor mnbn")
        counts = CaseCounts.from_row(row, endpoint or curve_endpoint)
    except RowError as problem:
        return Case(name or f"line {line}", None, str(problem), scoring)
    if not name:
        missing = "there is no column id" if "id" not in row else "no id is given"
        return Case(f"line {line}", counts, f"{missing}: a result that belongs to nobody is not given", scoring)
    return Case(name, counts, "", scoring)
