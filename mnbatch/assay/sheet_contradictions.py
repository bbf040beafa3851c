"""What a sample sheet says of one donor's slides, and what of it cannot be true of one sample of one person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import combinations

from mnbatch.assay.sample_sheet import is_background
from mnbatch.csvfile import is_number

Rows = Sequence[tuple[str, Mapping[str, str]]]
"""Name of a slide, and its line of the sheet: column -> text."""

_DAYS_A_YEAR = 365.25
_VALUES_SHOWN, _SLIDES_SHOWN = 4, 3
_NO_MARK = "not marked"

_TWO_PEOPLE = (
    "two people under one donor code, or a typing slip. Correct the sheet, or give each person a code, before the "
    "pooled number is used"
)
_MEANS = {
    "sex": _TWO_PEOPLE,
    "age": _TWO_PEOPLE,
    "dose_gy": (
        "the pooled number is of none of these doses, or one is a typing slip. Correct the sheet, give each sample a "
        "code, or leave the pooled number unused (a curve takes the slides)"
    ),
    "control": (
        "a control and another sample under one donor code, or a mark that is missing. Correct the sheet, or give each "
        "sample a code, before the pooled number is used"
    ),
    "exposure_date": "the donor's number pools samples of several exposures",
    "sampling_date": "the donor's number pools samples of several days",
}
_MAY_BE = ("exposure_date", "sampling_date")
"""Columns of which two values may both be right: a person may be sampled twice."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A column that has several values for the slides of one donor.

    Attributes:
        column: of the sheet.
        values: each value with the slides that have it.
    """

    column: str
    values: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def certain(self) -> bool:
        """Whether the values cannot all be true of one sample of one person."""
        return self.column not in _MAY_BE

    @property
    def warning(self) -> str:
        """What a reader of the donor's number must know."""
        shown = [f"{value} ({listed(slides)})" for value, slides in self.values[:_VALUES_SHOWN]]
        left = len(self.values) - len(shown)
        said = ", ".join([*shown, f"{left} more"]) if left else " and ".join([", ".join(shown[:-1]), shown[-1]])
        return f"{self.column} is {said} in the sample sheet: {_MEANS[self.column]}"


def contradictions(rows: Rows) -> tuple[Contradiction, ...]:
    """What the sheet says in several ways of the slides of one donor; what it does not say contradicts nothing."""
    by_column = {
        "sex": _values(rows, "sex"),
        "age": _values(rows, "age") if _ages_differ(rows) else {},
        "dose_gy": _values(rows, "dose_gy"),
        "control": _controls(rows),
        **{name: _values(rows, name) for name in _MAY_BE},
    }
    return tuple(
        Contradiction(column, tuple((value, tuple(slides)) for value, slides in values.items()))
        for column, values in by_column.items()
        if len(values) > 1
    )


def _values(rows: Rows, column: str) -> dict[str, list[str]]:
    """Each value with its slides; one number that is written in two ways is one value."""
    found: dict[str, list[str]] = {}
    for name, row in rows:
        text = row.get(column, "")
        if text:
            found.setdefault(f"{float(text):g}" if is_number(text) else text, []).append(name)
    return found


def _controls(rows: Rows) -> dict[str, list[str]]:
    """As `_values`; a slide without a mark is no control, so that a mark of some slides says two things."""
    found: dict[str, list[str]] = {}
    for name, row in rows:
        mark = "negative" if is_background(row) else row.get("control", "") or _NO_MARK
        found.setdefault(mark, []).append(name)
    return found


def _ages_differ(rows: Rows) -> bool:
    """Whether two ages are not those of one person, who may be older at a later sampling."""
    stated = {(float(row["age"]), _day(row)) for _, row in rows if is_number(row.get("age", ""))}
    return any(not _of_one_person(one, other) for one, other in combinations(stated, 2))


def _of_one_person(one: tuple[float, date | None], other: tuple[float, date | None]) -> bool:
    (age, day), (other_age, other_day) = one, other
    if age == other_age:
        return True
    if day is None or other_day is None or day == other_day:
        return False
    # Ages are in whole years: within one year of the time between the samplings.
    return abs((other_age - age) - (other_day - day).days / _DAYS_A_YEAR) <= 1


def _day(row: Mapping[str, str]) -> date | None:
    try:
        return date.fromisoformat(row.get("sampling_date", ""))
    except ValueError:
        return None


def listed(names: Sequence[str]) -> str:
    """Names of slides; a long list is cut and counted."""
    left = len(names) - _SLIDES_SHOWN
    return ", ".join([*names[:_SLIDES_SHOWN], *([f"{left} more"] if left > 0 else [])])
