"""Decisions as a person took them, and the files that carry them: review.csv and review.json."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from mnbatch.csvfile import CsvError
from mnbatch.errors import StorageError, UsageError
from mnbatch.handed_table import column_key, misfit, needs, parse_table
from mnbatch.intake import parse_json, read_bytes, reason
from mnbatch.spelled_numbers import SpellingError, count_of, decimal_of, failed_value

Choice = Literal["mn", "not_mn", "unsure", "not_scorable"]
CHOICES: tuple[str, ...] = get_args(Choice)
WITHDRAWN = "withdrawn"
"""In the trail only: an earlier decision that its reviewer took back."""

COLUMNS = (
    "slide_id",
    "cell_id",
    "decision",
    "count",
    "reviewer",
    "time",
    "stratum",
    "inclusion_probability",
    "model_digest",
    "result_key",
)
MORE_COLUMNS = ("look", "classes", "comment")
"""May be absent: reviews of earlier versions have none."""

ADJUDICATION = "adjudication"
LOOKS = ("", "second", ADJUDICATION)
"""First look at a cell; second look at a cell decided MN; a third person's decision where two differ."""

CLASSES = ("bridge", "bud", "apoptotic", "necrotic", "multinucleated")
"""What a scorer may note of a cell in addition to its micronuclei."""

LONGEST_NAME = 100
LONGEST_COMMENT = 500
MOST_MICRONUCLEI = 99
FAULTS_SHOWN = 5
JSON_FORMAT = "mnbatch-review"


@dataclass(frozen=True, slots=True)
class Decision:
    """What one reviewer decided on one cell.

    Attributes:
        decision: one of `CHOICES`, or `WITHDRAWN`.
        count: micronuclei that were counted; None where the reviewer gave no number.
        time: when it was taken, ISO 8601 with an offset.
        stratum: see `mnbatch.review.queue`.
        inclusion_probability: with which the cell came into the queue; None for a cell outside of it.
        look: one of `LOOKS`.
        classes: of `CLASSES`, in their order.
        comment: the reviewer's own words.
    """

    slide_id: str
    cell_id: str
    decision: str
    count: int | None
    reviewer: str
    time: str
    stratum: str
    inclusion_probability: float | None
    model_digest: str
    result_key: str
    look: str = ""
    classes: tuple[str, ...] = ()
    comment: str = ""

    @property
    def moment(self) -> datetime:
        """`time` as a point in time."""
        return datetime.fromisoformat(self.time)

    def fields(self) -> dict[str, Any]:
        """As the trail and review.json hold it."""
        fields = asdict(self)
        # Trails of decisions without them are the same bytes as before there were such fields.
        return {name: value for name, value in fields.items() if value or name not in MORE_COLUMNS}


def read_review(path: Path) -> list[Decision]:
    """The decisions of a review.csv or review.json, all or none.

    Raises:
        UsageError: no such file, a broken row, or two decisions of one reviewer on one cell; rows are named.
    """
    try:
        data = read_bytes(path)
    except FileNotFoundError as error:
        raise UsageError(f"There is no file {path}.", "Give the review that the gallery saved.") from error
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {reason(error)}.", "Check the path and its permissions.") from error
    looks_like_json = data.removeprefix(codecs.BOM_UTF8).lstrip().startswith((b"{", b"["))
    rows = _json_rows(data, path) if looks_like_json else _csv_rows(data, path)
    decisions, faults = [], []
    for where, row in rows:
        try:
            decisions.append(parse_decision(row))
        except ValueError as error:
            faults.append(f"{where}: {error}")
    faults += _duplicates(decisions, [where for where, _ in rows]) if not faults else []
    if faults:
        raise UsageError(
            f"{path} has broken rows: {told_faults(faults)}.",
            "Correct them, or save the review again; nothing of this file was imported.",
        )
    return decisions


def parse_decision(row: Mapping[str, Any], *, withdrawn: bool = False) -> Decision:
    """One row, checked.

    Args:
        withdrawn: accept `WITHDRAWN` too (the local server's rows, not a file's).

    Raises:
        ValueError: a field that cannot be right, saying which.
    """
    if "fault" in row:
        raise ValueError(str(row["fault"]))
    missing = [name for name in COLUMNS if row.get(name) is None and name not in ("count", "inclusion_probability")]
    if missing:
        raise ValueError(f"no {missing[0]}")
    text = {name: str(row[name]).strip() for name in COLUMNS if row.get(name) is not None}
    allowed = (*CHOICES, WITHDRAWN) if withdrawn else CHOICES
    if text["decision"] not in allowed:
        raise ValueError(f"decision {text['decision'][:40]!r} is not one of {', '.join(CHOICES)}")
    for name in ("slide_id", "cell_id", "result_key"):
        if not text[name]:
            raise ValueError(f"{name} is empty")
    return Decision(
        slide_id=text["slide_id"],
        cell_id=text["cell_id"],
        decision=text["decision"],
        count=_count(text.get("count", ""), text["decision"]),
        reviewer=person_name(text["reviewer"], "reviewer"),
        time=_time(text["time"]),
        stratum=text["stratum"],
        inclusion_probability=_probability(text.get("inclusion_probability", "")),
        model_digest=text["model_digest"],
        result_key=text["result_key"],
        look=_look(row.get("look")),
        classes=_classes(row.get("classes")),
        comment=_comment(row.get("comment")),
    )


def told_faults(faults: Sequence[str]) -> str:
    """The first faults of a review, and how many there are besides."""
    more = f" and {len(faults) - FAULTS_SHOWN} more" if len(faults) > FAULTS_SHOWN else ""
    return f"{'; '.join(faults[:FAULTS_SHOWN])}{more}"


def person_name(text: str, what: str) -> str:
    """A person's name as it is kept.

    Raises:
        ValueError: it is empty, too long, a spreadsheet's error or holds control characters; `what` says whose it is.
    """
    text = text.strip()
    # The gallery writes an apostrophe before what a spreadsheet would take for a formula.
    name = text[1:] if text[:1] == "'" and text[1:2] in ("=", "+", "-", "@") else text
    if not name or len(name) > LONGEST_NAME:
        raise ValueError(f"{what} must be a name of 1 to {LONGEST_NAME} letters")
    if not name.isprintable():
        raise ValueError(f"{what} holds control characters")
    if spoiled := failed_value(name):
        raise ValueError(f"{what}: {spoiled}")
    return name


def _look(value: Any) -> str:
    look = "" if value is None else str(value).strip()
    if look not in LOOKS:
        raise ValueError(f"look {look[:40]!r} is not one of {', '.join(filter(None, LOOKS))}")
    return look


def _classes(value: Any) -> tuple[str, ...]:
    """From a list, or from text with blanks or semicolons between the words."""
    if value is not None and not isinstance(value, str | list | tuple):
        raise ValueError("classes must be text or a list")
    words = value.replace(";", " ").split() if isinstance(value, str) else list(value or ())
    strange = [str(word)[:40] for word in words if word not in CLASSES]
    if strange:
        raise ValueError(f"class {strange[0]!r} is not one of {', '.join(CLASSES)}")
    return tuple(name for name in CLASSES if name in words)


def _comment(value: Any) -> str:
    text = "" if value is None else str(value).strip()
    text = text[1:] if text[:1] == "'" and text[1:2] in ("=", "+", "-", "@") else text
    if len(text) > LONGEST_COMMENT or not text.isprintable():
        raise ValueError(f"comment must be a line of at most {LONGEST_COMMENT} letters")
    return text


def _csv_rows(data: bytes, path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    as_saved = "Give a review.csv or review.json as the gallery saved it."
    try:
        table = parse_table(data, ragged=True, needed=needs(*COLUMNS))
    except CsvError as error:
        raise UsageError(f"{path} is not a review: {reason(error)}.", as_saved) from error
    header = [column_key(name) for name in table.columns]
    absent = [name for name in COLUMNS if name not in header]
    if absent:
        raise UsageError(f"{path} is not a review: its first line lacks {', '.join(absent)}.", as_saved)
    rows: list[tuple[str, Mapping[str, Any]]] = []
    for line, fields in table.rows:
        row: dict[str, Any] = dict(zip(header, fields, strict=False))
        problem = misfit(fields, header, needs(*COLUMNS))
        rows.append((f"line {line}", {"fault": problem} if problem else row))
    return rows


def _json_rows(data: bytes, path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    try:
        content = parse_json(data)
        rows = content["decisions"]
        known = content.get("format") == JSON_FORMAT and isinstance(rows, list)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} is not a review: {reason(error)}.", "Give a review.json as the gallery saved it."
        ) from error
    if not known or not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"{path} is not a review.", "Give a review.csv or review.json as the gallery saved it.")
    return [(f"decision {number}", row) for number, row in enumerate(rows, start=1)]


def _duplicates(decisions: Sequence[Decision], places: Sequence[str]) -> list[str]:
    first: dict[tuple[str, str], str] = {}
    faults = []
    for decision, place in zip(decisions, places, strict=True):
        key = (decision.cell_id, decision.reviewer)
        if key in first:
            faults.append(f"{place} decides {decision.cell_id} a second time ({first[key]} did before)")
        first.setdefault(key, place)
    return faults


def _count(text: str, decision: str) -> int | None:
    if not text:
        return None
    try:
        number = count_of(text, "count")
    except SpellingError:
        number = MOST_MICRONUCLEI + 1
    if number > MOST_MICRONUCLEI:
        raise ValueError(f"count {text[:20]!r} is not a number from 0 to {MOST_MICRONUCLEI}")
    if decision != "withdrawn" and (number > 0) != (decision == "mn"):
        raise ValueError(f"count {number} contradicts the decision {decision}")
    return number


def _time(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"time {text[:40]!r} is not an ISO 8601 time") from None
    if moment.tzinfo is None:
        raise ValueError(f"time {text[:40]} has no offset from UTC")
    return text


def _probability(text: str) -> float | None:
    if not text:
        return None
    try:
        # A probability is too small for thousands: a decimal comma is one in any table.
        value = decimal_of(text, ",", "inclusion_probability")
    except SpellingError:
        value = 0.0
    if not 0 < value <= 1:
        raise ValueError(f"inclusion_probability {text[:20]!r} is not above 0 and at most 1")
    return value
