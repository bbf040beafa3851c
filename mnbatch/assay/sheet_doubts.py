"""What of one donor's code and lines of the sample sheet can hardly be true: days, doses, names of the donor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
"""Orders of the days of blood that was irradiated after it was taken."""
_TAKEN = ("sampling_date", "arrival_date")
"""Days of which the first that is known says when the blood was there."""
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
        yield Doubt(
            f"dose_gy is {_named(found)} in the sample sheet, more than {MUCH_GY:g} Gy: is it in Gy?",
            f"the sample sheet states a dose of more than {MUCH_GY:g} Gy",
        )


def _of_the_days(rows: Rows, today: date) -> Iterator[Doubt]:
    cannot: dict[str, list[str]] = {}
    may: dict[str, list[str]] = {}
    for name, row in rows:
        days = _known_days(row, rows)
        later = "" if row.get("dose_gy") or row.get("control") else _exposed_later(days)
        if later and not _exposed_last(days):
            # The doses of blind samples are kept from the sheet, so that the order of the days must do.
            may.setdefault(later, []).append(name)
        for saying in dict.fromkeys(_sayings(days, _orders(row, days), today)):
            cannot.setdefault(saying, []).append(name)
    if cannot:
        yield Doubt(
            f"the sample sheet has days that cannot be true: {_named(cannot)}. Correct the sheet, a report states "
            "these days",
            "the sample sheet has days that cannot be true",
        )
    if may:
        yield Doubt(f"{_named(may)}: right for blood that was irradiated in a tube, else correct the sheet")


def _known_days(row: Mapping[str, str], rows: Rows) -> dict[str, date]:
    """The days of a line; what it leaves open is as the donor's other lines have it, where they agree."""
    days: dict[str, date] = {}
    for column in DATES:
        stated = {row[column]} if row.get(column) else _of_other_lines(column, row, rows)
        day = _day(stated.pop()) if len(stated) == 1 else None
        if day is not None:
            days[column] = day
    return days


def _of_other_lines(column: str, row: Mapping[str, str], rows: Rows) -> set[str]:
    """What other lines state in a column; nothing where all that do are of another arrival, by any of their days."""
    others = [other for _, other in rows if other.get(column)]
    same = any(all(row[day] == other[day] for day in DATES if row.get(day) and other.get(day)) for other in others)
    return {other[column] for other in others} if same else set()


def _orders(row: Mapping[str, str], days: Mapping[str, date]) -> tuple[Sequence[str], ...]:
    """Orders in which a line's days must be."""
    if row.get("dose_gy") or row.get("control"):
        return _IN_A_TUBE
    if not _exposed_later(days):
        return (DATES,)
    return (DATES, *_IN_A_TUBE) if _exposed_last(days) else _IN_A_TUBE


def _exposed_later(days: Mapping[str, date]) -> str:
    """That the exposure is after the day on which the blood was there; "" where it is not, or one is not known."""
    taken = next((column for column in _TAKEN if column in days), None)
    if taken is None or "exposure_date" not in days or days["exposure_date"] <= days[taken]:
        return ""
    return f"exposure_date {days['exposure_date']} is after {taken} {days[taken]}"


def _exposed_last(days: Mapping[str, date]) -> bool:
    """Whether the exposure is after the culture or the report, which no blood's is."""
    return any(days[then] < days["exposure_date"] for then in ("culture_date", "report_date") if then in days)


def _sayings(days: Mapping[str, date], orders: Iterable[Sequence[str]], today: date) -> Iterator[str]:
    for order in orders:
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


def _named(found: Mapping[str, list[str]]) -> str:
    return _joined([f"{saying} ({listed(slides)})" for saying, slides in found.items()])


def _joined(sayings: list[str]) -> str:
    left = len(sayings) - _SAYINGS_SHOWN
    return ", ".join([*sayings[:_SAYINGS_SHOWN], *([f"{left} more"] if left > 0 else [])])
