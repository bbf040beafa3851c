"""Slides that failed for good, of which a person has said that they know: who, when and why.

A line in `annotations/acknowledged.jsonl`, which is only appended to. It is about one failure of one state of the
slide's files: when a file changes, or the slide fails for another reason, it is void. The slide stays failed in every
table; what changes is the exit code, so that 3 means something new.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mnbatch.errors import StorageError
from mnbatch.intake import parse_json
from mnbatch.results.annotations import altered_trail, change, read
from mnbatch.results.paths import OutPaths
from mnbatch.results.records import SlideRecord


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """One line of the trail.

    Attributes:
        files: the record's `stat_key`: digest over the slide's files as they were.
        failure: why the slide is not counted, as it was shown.
        by, at: who and when (UTC, ISO 8601).
        reason: in the person's words; "" for one that takes back what was said before.
    """

    slide_id: str
    files: str
    failure: str
    by: str
    at: str
    reason: str

    @property
    def text(self) -> str:
        """As tables and pages say it."""
        return f"acknowledged by {self.by} on {self.at[:10]}: {self.reason}"


Acknowledgements = Mapping[str, Acknowledgement]
"""slide_id -> the latest line about it."""


def acknowledge(paths: OutPaths, said: Acknowledgement) -> None:
    """Append a line.

    Raises:
        StorageError, LockHeldError: as `mnbatch.results.annotations.change`.
    """
    change(paths, append={paths.acknowledged: [asdict(said)]})


def load_acknowledgements(paths: OutPaths) -> dict[str, Acknowledgement]:
    """The latest line about each slide.

    A trail that was changed by hand acknowledges nothing: its slides are failures that a person has to look at.
    """
    data = read(paths, paths.acknowledged)
    if data is None or altered_trail(paths, paths.acknowledged, data):
        return {}
    found: dict[str, Acknowledgement] = {}
    for line in data.split(b"\n"):
        said = _parsed(line)
        if said is not None:
            found[said.slide_id] = said
    return {slide_id: said for slide_id, said in found.items() if said.reason}


def acknowledged(said: Acknowledgements, record: SlideRecord, failure: str) -> Acknowledgement | None:
    """What was said of this failure of this slide; None for nothing, and for what is void by now.

    Args:
        failure: why it is not counted, without what was said of it.
    """
    known = said.get(record.slide_id)
    if known is None or record.waiting is not None:
        return None
    return known if (known.files, known.failure) == (record.stat_key, failure) else None


def _parsed(line: bytes) -> Acknowledgement | None:
    if not line.strip():
        return None
    try:
        row: Any = parse_json(line)
        names = ("slide_id", "files", "failure", "by", "at", "reason")
        return Acknowledgement(*(str(row[name]) for name in names))
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError("annotations/acknowledged.jsonl has a line that is no JSON.", "Restore it.") from error
