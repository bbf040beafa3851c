"""The sample sheet: what the laboratory knows of its slides, which overrides what paths say."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from mnbatch.assay.alike_names import shows_nothing
from mnbatch.assay.reasons import Foreign, Named, say
from mnbatch.csvfile import CsvError
from mnbatch.errors import StorageError, UsageError
from mnbatch.handed_table import Table, column_key, parse_table, unread
from mnbatch.intake import nearest, read_bytes, reason, short
from mnbatch.spelled_numbers import SpellingError, decimal_of, failed_value, is_day_name, spoiled_name

TARGETS: tuple[str, str] = ("target_low_per_1000", "target_high_per_1000")
"""The range that a control's count must be in, MNBN cells called per 1000 BN cells."""
DATES: tuple[str, ...] = ("exposure_date", "sampling_date", "arrival_date", "culture_date", "report_date")
"""Days, as YYYY-MM-DD: another order of day and month can be misread."""
REPORT_TEXTS: tuple[str, ...] = (
    *("report_number", "request_number", "requester", "operator", "scored_by", "smoking", "clinical_history"),
)
"""What a report states of a donor's sample in addition; free text."""
DETAILS: tuple[str, ...] = (*DATES, *REPORT_TEXTS)
COLUMNS: tuple[str, ...] = (
    *("slide", "donor", "dose_gy", "culture", "sex", "age", "note", "control", "um_per_pixel"),
    *TARGETS,
    *DETAILS,
)
REQUIRED: tuple[str, ...] = ("slide", "donor")
DOSE_COLUMNS = {"dose_gy": 1, "dose_cgy": 100, "dose_mgy": 1000}
"""Columns of the known dose, and how many of their units a Gy has."""
MOST_GY = 100.0
"""No blood is irradiated with more for a curve, and nobody survives it: such a number has another unit."""
MUCH_GY = 20.0
"""Above the doses of curves; a number to be looked at."""
_SMALLER_UNIT = {"dose_gy": "mGy", "dose_cgy": "mGy", "dose_mgy": "\u00b5Gy"}
_WITHOUT_UNIT = ("dose", "d")
_OF_NUMBERS = ("dose_gy", "control", "um_per_pixel", *TARGETS)
"""A column that is misspelled must not be taken for the laboratory's own where numbers depend on it."""
_SEXES = {"": "", "f": "f", "female": "f", "m": "m", "male": "m"}
_NO, _NEGATIVE, _POSITIVE = "", "negative", "positive"
_CONTROLS = (
    dict.fromkeys(("", "no", "n", "0", "false"), _NO)
    | dict.fromkeys(("yes", "y", "1", "true", "x", "negative", "neg"), _NEGATIVE)
    | dict.fromkeys(("positive", "pos"), _POSITIVE)
)
_MOST_PER_1000 = 1000.0
_LONGEST_DETAIL = 500
_OLDEST = 130.0
_SMALLEST_PIXEL, _LARGEST_PIXEL = 0.02, 5.0
_SHOWN = 3

SlideIdentity = tuple[str, str, str]
"""(slide_id, name, path relative to the export)."""


@dataclass(frozen=True, slots=True)
class SampleRow:
    """One line of the sample sheet.

    Attributes:
        slide: the slide's path in the export, its slide_id, or its name where that is unique.
        donor: donor code, never a name.
        dose_gy: known dose in Gy, None where it is not known.
        culture: culture or replicate.
        sex: "f", "m" or "" for unknown.
        age: years, None for unknown.
        note: free text.
        um_per_pixel: pixel size of the slide's fields, micrometres; None takes what the files say.
        line: line of the file, counted from 1.
        control: an unexposed (negative) control of this laboratory; such slides are the background of the others.
        positive: an exposed control; never a background.
        target_low_per_1000, target_high_per_1000: range that the control's count must be in, MNBN cells called per
            1000 BN cells; None for no limit on that side.
        details: what a report states of the sample (`DETAILS`), without empty ones.
    """

    slide: str
    donor: str
    dose_gy: float | None = None
    culture: str = ""
    sex: str = ""
    age: float | None = None
    note: str = ""
    line: int = 0
    control: bool = False
    um_per_pixel: float | None = None
    positive: bool = False
    target_low_per_1000: float | None = None
    target_high_per_1000: float | None = None
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def stored(self) -> dict[str, str | int | float | None]:
        """Column -> value, as `COLUMNS` has them."""
        mark = _POSITIVE if self.positive else "yes" if self.control else ""
        known: dict[str, str | int | float | None] = {
            name: getattr(self, name) for name in COLUMNS if name not in DETAILS
        }
        return known | {name: self.details.get(name, "") for name in DETAILS} | {"control": mark}


def is_background(row: Mapping[str, str]) -> bool:
    """Whether a stored line marks an unexposed control, with whose count those of the others are compared."""
    return row.get("control", "") not in ("", _POSITIVE)


def read_samples(path: Path) -> list[SampleRow]:
    """Read a sample sheet as `mnbatch.handed_table` does; columns of other names are the laboratory's own.

    Raises:
        UsageError: a column that is missing, there twice or misspelled, a line without slide or donor, what a
            spreadsheet puts in a code's place, a bad number; names the line.
        StorageError: the file cannot be read.
    """
    table = _table(path)
    header = _header(path, table.columns)
    return [
        _row(path, line, dict(zip(header, map(str.strip, cells), strict=True)), table.separator)
        for line, cells in table.rows
    ]


def sheet_notes(rows: Sequence[SampleRow]) -> tuple[str, ...]:
    """What a person is to look at before hours are spent; no names, which may be covered."""
    if not rows:
        return ("it names no slide; donors are those of the folders again",)
    much = [row.line for row in rows if row.dose_gy is not None and row.dose_gy > MUCH_GY]
    days = [row.line for row in rows if is_day_name(row.donor)]
    notes = []
    if much:
        notes.append(f"{_lines(much)}: a dose of more than {MUCH_GY:g} Gy: is it in Gy?")
    if days:
        notes.append(f"{_lines(days)}: the donor is a day: is it a code, or a date of a slide or culture?")
    return tuple(notes)


def _lines(numbers: Sequence[int]) -> str:
    left = len(numbers) - _SHOWN
    shown = ", ".join(map(str, numbers[:_SHOWN])) + (f" and {left} more" if left > 0 else "")
    return f"line{'s' * (len(numbers) > 1)} {shown}"


def unread_columns(path: Path) -> str:
    """What is to be said of a sheet's columns that nothing is taken from; "" where there are none.

    Raises:
        UsageError, StorageError: as `read_samples`.
    """
    return unread(_table(path).columns, _is_read)


def _is_read(column: str) -> bool:
    return column_key(column) in (*COLUMNS, *DOSE_COLUMNS)


def _is_needed(column: str) -> bool:
    return _is_read(column) and column_key(column) not in ("culture", "note", *DETAILS)


def _table(path: Path) -> Table:
    try:
        return parse_table(_read(path), needed=_is_needed)
    except CsvError as error:
        raise UsageError(
            f"The sample sheet {path} cannot be used: {reason(error)}.",
            f"Save it as 'CSV UTF-8' (in Excel: Save As); its first line names {', '.join(COLUMNS)}.",
        ) from error


def match_samples(rows: Sequence[SampleRow], slides: Iterable[SlideIdentity]) -> dict[str, SampleRow]:
    """Give each row its slide.

    Args:
        rows: from `read_samples`.
        slides: every slide of the export.

    Returns:
        Rows by slide_id; slides that the sheet does not name are absent.

    Raises:
        UsageError: a slide that is not in the export, a name that several slides have, a slide named twice.
    """
    identities = list(slides)
    exact = {composed(key): slide_id for slide_id, _, path in identities for key in (path, slide_id)}
    names: dict[str, list[str]] = {}
    for slide_id, name, _ in identities:
        names.setdefault(composed(name), []).append(slide_id)
    paths = {slide_id: path for slide_id, _, path in identities}
    matched: dict[str, SampleRow] = {}
    for row in rows:
        slide_id = _slide_of(row, exact, names, paths)
        if slide_id in matched:
            raise UsageError(
                say("sheet-twice", line=row.line, slide=_named(row.slide), first=matched[slide_id].line),
                say("sheet-twice-do"),
            )
        matched[slide_id] = row
    return matched


def composed(name: str) -> str:
    """A name in the form by which names are compared (NFC): a Mac writes `ä` as two letters, others as one."""
    return unicodedata.normalize("NFC", name)


def _slide_of(row: SampleRow, exact: dict[str, str], names: dict[str, list[str]], paths: dict[str, str]) -> str:
    slide = composed(row.slide)
    wanted = slide.replace("\\", "/").removeprefix("./").rstrip("/") or slide
    for key in (slide, wanted):
        if key in exact:
            return exact[key]
    found = names.get(slide, [])
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            say("sheet-several", line=row.line, count=len(found), slide=_named(row.slide)),
            say("sheet-several-do", paths=_listed([paths[slide_id] for slide_id in found])),
        )
    raise UsageError(
        say("sheet-none", line=row.line, slide=_named(row.slide)),
        say("sheet-none-do", paths=_listed(list(paths.values()))),
    )


def _named(slide: str) -> Named:
    return Named("sheet-entry", slide)


def _listed(values: Sequence[str]) -> Foreign:
    shown = ", ".join(f"'{value}'" for value in values[:_SHOWN])
    return Foreign(shown + (", ..." if len(values) > _SHOWN else ""), "not shown under pseudonyms")


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except FileNotFoundError as error:
        raise UsageError(f"There is no sample sheet {path}.", "Check --samples.") from error
    except OSError as error:
        raise StorageError(
            f"The sample sheet {path} cannot be read: {reason(error)}.",
            "Check --samples and its permissions.",
        ) from error


def _header(path: Path, cells: Sequence[str]) -> list[str]:
    header = [column_key(cell) for cell in cells]
    doses = [column for column in header if column in DOSE_COLUMNS]
    problem = ""
    for column in REQUIRED:
        if column not in header:
            problem = problem or f"has no column '{column}'"
    known = [column for column in header if column in COLUMNS]
    if len(set(known)) < len(known) or len(doses) > 1:
        problem = problem or "names a column twice"
    problem = problem or _misspelled(header)
    if not problem:
        return header
    raise UsageError(
        f"The sample sheet {path} {problem}.",
        f"Columns are {', '.join(COLUMNS)}; the first two are needed. A dose may also be in dose_cgy or dose_mgy.",
    )


def _misspelled(header: Sequence[str]) -> str:
    for column in header:
        if column in COLUMNS or column in DOSE_COLUMNS:
            continue
        if column in _WITHOUT_UNIT:
            return f"has an unknown column '{column}': say the unit, dose_gy, dose_cgy or dose_mgy"
        meant = nearest(column, [name for name in _OF_NUMBERS if name not in header])
        if meant:
            return f"has an unknown column '{short(column)}': name it {meant}, or less like it if it is your own"
    return ""


def _row(path: Path, line: int, cells: dict[str, str], separator: str) -> SampleRow:
    for column in REQUIRED:
        if shows_nothing(cells[column]):
            raise UsageError(f"{path}, line {line}: no {column} is given.", "Fill it in, or delete the line.")
    # A slide may be named `01-Mar`: one that is not is in no export, and is refused as such.
    for column, spoiled in (("slide", failed_value), ("donor", spoiled_name), ("culture", failed_value)):
        why = spoiled(cells.get(column, ""))
        if why:
            raise UsageError(f"{path}, line {line}: {column} {why}.", "Write the code anew.")
    sex = cells.get("sex", "").lower()
    if sex not in _SEXES:
        raise UsageError(f"{path}, line {line}: sex '{sex}' is not known.", "Use f, m, or leave it empty.")
    control = _control(path, line, cells)
    low, high = _target(path=path, line=line, cells=cells, separator=separator, control=control)
    return SampleRow(
        slide=cells["slide"],
        donor=composed(cells["donor"]),
        dose_gy=stated_dose(path, line, cells, separator),
        culture=cells.get("culture", ""),
        sex=_SEXES[sex],
        age=_number(path=path, line=line, column="age", cells=cells, separator=separator, largest=_OLDEST),
        note=cells.get("note", ""),
        control=control == _NEGATIVE,
        um_per_pixel=_pixel_size(path, line, cells, separator),
        line=line,
        positive=control == _POSITIVE,
        target_low_per_1000=low,
        target_high_per_1000=high,
        details=_details(path, line, cells),
    )


def _control(path: Path, line: int, cells: dict[str, str]) -> str:
    given = cells.get("control", "").lower()
    if given not in _CONTROLS:
        raise UsageError(
            f"{path}, line {line}: control '{given}' is not known.",
            "Use negative (or yes), positive, no, or leave it empty.",
        )
    return _CONTROLS[given]


def _target(
    path: Path, line: int, cells: dict[str, str], separator: str, control: str
) -> tuple[float | None, float | None]:
    low, high = (
        _number(path=path, line=line, column=name, cells=cells, separator=separator, largest=_MOST_PER_1000)
        for name in TARGETS
    )
    if (low is not None or high is not None) and not control:
        raise UsageError(
            f"{path}, line {line}: a target range is given, and the slide is no control.",
            "Write negative or positive under control, or leave the range empty.",
        )
    if low is not None and high is not None and low > high:
        raise UsageError(
            f"{path}, line {line}: the target range {low:g} to {high:g} is upside down.",
            f"Write the smaller number under {TARGETS[0]}.",
        )
    return low, high


def _details(path: Path, line: int, cells: dict[str, str]) -> dict[str, str]:
    found = {name: cells[name] for name in DETAILS if cells.get(name)}
    for name, text in found.items():
        if name in DATES and not _is_day(text):
            raise UsageError(
                f"{path}, line {line}: {name} '{short(text)}' is not a day as YYYY-MM-DD.",
                "Write the year first, such as 2026-03-01: other orders of day and month can be misread.",
            )
        if len(text) > _LONGEST_DETAIL:
            raise UsageError(
                f"{path}, line {line}: {name} has {len(text)} characters.",
                f"Write at most {_LONGEST_DETAIL}: a report has one page for them.",
            )
    return found


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def stated_dose(path: Path, line: int, cells: dict[str, str], separator: str) -> float | None:
    """The known dose of a line, Gy; None where it is empty.

    Args:
        cells: column key -> text; one of `DOSE_COLUMNS` is read.

    Raises:
        UsageError: no number of 0 or more, or a dose that no blood is given; names the line.
    """
    column = next((name for name in DOSE_COLUMNS if name in cells), "dose_gy")
    stated = _number(path=path, line=line, column=column, cells=cells, separator=separator, largest=math.inf)
    if stated is None:
        return None
    dose = stated / DOSE_COLUMNS[column]
    if dose > MOST_GY:
        raise UsageError(
            f"{path}, line {line}: {column} '{short(cells[column])}' is more than {MOST_GY:g} Gy: is it in "
            f"{_SMALLER_UNIT[column]}?",
            f"Name the column by its unit ({', '.join(DOSE_COLUMNS)}), or correct the number.",
        )
    return dose


def _pixel_size(path: Path, line: int, cells: dict[str, str], separator: str) -> float | None:
    value = _number(
        path=path, line=line, column="um_per_pixel", cells=cells, separator=separator, largest=_LARGEST_PIXEL
    )
    if value is not None and value < _SMALLEST_PIXEL:
        raise UsageError(
            f"{path}, line {line}: um_per_pixel {value:g} is not that of a light microscope.",
            f"Write micrometres a pixel, {_SMALLEST_PIXEL:g} to {_LARGEST_PIXEL:g}, or leave it empty.",
        )
    return value


def _number(path: Path, line: int, column: str, cells: dict[str, str], separator: str, largest: float) -> float | None:
    text = cells.get(column, "")
    if not text:
        return None
    wanted = f"from 0 to {largest:g}" if math.isfinite(largest) else "of 0 or more"
    advice = f"Write a number {wanted} without a unit, or leave it empty."
    try:
        value = decimal_of(text, separator, column)
    except SpellingError as error:
        raise UsageError(f"{path}, line {line}: {error}.", advice) from error
    if not 0 <= value <= largest or text.startswith("-"):
        raise UsageError(f"{path}, line {line}: {column} '{text}' is not a number that can be used.", advice)
    return value
