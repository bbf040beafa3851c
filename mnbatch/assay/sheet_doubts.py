"""What of one donor's code and lines of the sample sheet can hardly be true: days, doses, names of the donor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

from mnbatch.assay.alike_names import shows_nothing, spelled
from mnbatch.assay.sample_sheet import DATES, MUCH_GY
from mnbatch.assay.sheet_contradictions import Rows, listed
from mnbatch.csvfile import is_number
from mnbatch.spelled_numbers import is_day_name

_IN_A_TUBE = (
    ("sampling_date", "arrival_date", "culture_date", "report_date"),
    ("exposure_date", "culture_date", "report_date"),
)
"""Orders of the days where the dose is known: blood of a calibration is irradiated after it was taken."""
_AHEAD = timedelta(days=1)
"""Elsewhere it may be tomorrow."""
_SAYINGS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something that a reader of a donor's number must know and decide.

    Attributes:
        warning: without a full stop and semicolons; it is joined with others.
        light: the reason that it is of an amber light; "" where it is none.
    """

    warning: str
    light: str = ""


def donor_doubts(donor: str, rows: Rows, today: date) -> tuple[Doubt, ...]:
    """What can hardly be true of a donor.

    Args:
        rows: of its slides; lines may be empty.
        today: by which a day is in the future.
    """
    return (*_of_the_name(donor), *_of_the_dose(rows), *_of_the_days(rows, today))


def _of_the_name(donor: str) -> Iterator[Doubt]:
    if shows_nothing(donor):
        said = "has a name that shows nothing: name its folder, or give its slides a donor in the sample sheet"
        yield Doubt(f"the donor {spelled(donor)} {said}", "the donor's name shows nothing")
    elif is_day_name(donor):
        yield Doubt(
            f"the donor {spelled(donor)} is named by a day: slides of several people of that day would be pooled. If "
            "it is not a person's code, give each person one in the sample sheet"
        )


def _of_the_dose(rows: Rows) -> Iterator[Doubt]:
    found: dict[str, list[str]] = {}
    for name, row in rows:
        text = row.get("dose_gy", "")
        if is_number(text) and float(text) > MUCH_GY:
            found.setdefault(f"{float(text):g}", []).append(name)
    if found:
        said = _joined([f"{dose} ({listed(slides)})" for dose, slides in found.items()])
        yield Doubt(
            f"dose_gy is {said} in the sample sheet, more than {MUCH_GY:g} Gy: is it in Gy?",
            f"the sample sheet states a dose of more than {MUCH_GY:g} Gy",
        )


def _of_the_days(rows: Rows, today: date) -> Iterator[Doubt]:
    found: dict[str, list[str]] = {}
    for name, row in rows:
        for saying in dict.fromkeys(_sayings(_known_days(row, rows), row, today)):
            found.setdefault(saying, []).append(name)
    if found:
        said = _joined([f"{saying} ({listed(slides)})" for saying, slides in found.items()])
        yield Doubt(
            f"the sample sheet has days that cannot be true: {said}. Correct the sheet, a report states these days",
            "the sample sheet has days that cannot be true",
        )


def _known_days(row: Mapping[str, str], rows: Rows) -> dict[str, date]:
    """The days of a line; what it leaves open is as the donor's other lines have it, where they agree."""
    days: dict[str, date] = {}
    for column in DATES:
        stated = {row[column]} if row.get(column) else {other[column] for _, other in rows if other.get(column)}
        day = _day(stated.pop()) if len(stated) == 1 else None
        if day is not None:
            days[column] = day
    return days


def _sayings(days: Mapping[str, date], row: Mapping[str, str], today: date) -> Iterator[str]:
    in_a_tube = row.get("dose_gy") or row.get("control")
    for order in _IN_A_TUBE if in_a_tube else (DATES,):
        for first, then in pairwise(column for column in order if column in days):
            if days[then] < days[first]:
                yield f"{then} {days[then]} is before {first} {days[first]}"
    for column, day in days.items():
        if day > today + _AHEAD:
            yield f"{column} {day} lies in the future"


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _joined(sayings: list[str]) -> str:
    left = len(sayings) - _SAYINGS_SHOWN
    return ", ".join([*sayings[:_SAYINGS_SHOWN], *([f"{left} more"] if left > 0 else [])])
