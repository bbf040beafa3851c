"""What a glance at OUT needs of its records, without what makes them: `mnbatch status` is asked often.

A record whose checksum is right was written by mnbatch, and its fields are what they say. Any other is read as
everywhere else (`mnbatch.results.commit.read_record`), which takes longer to load and knows what to make of it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mnbatch.intake import parse_json, read_bytes
from mnbatch.results.checksums import content_checksum
from mnbatch.results.paths import OutPaths, SlidePaths

CHECKSUM = "checksum"
PLANNED = "planned"
"""State of the files of a slide that waits for no files: it was to be scored (`mnbatch.results.planned_slides`)."""
KNOWN = (
    "slide_id",
    "name",
    "path",
    "donor",
    "status",
    "reason",
    "next_step",
    "generation",
    "sizes",
    "checksums",
    "cells",
)


@dataclass(frozen=True, slots=True)
class RecordView:
    """Of a `SlideRecord`, what its name says.

    Attributes:
        waits: of `waiting`: since, text and overdue; None for a slide that does not wait.
        planned: it waits for a run or a job of `mnbatch score`, not for files.
    """

    slide_id: str
    name: str
    path: str
    donor: str | None
    status: str
    reason: str
    next_step: str
    generation: str | None
    sizes: Mapping[str, int]
    checksums: Mapping[str, str]
    cells: int
    waits: tuple[str, str, bool] | None
    planned: bool = False


def read_views(paths: OutPaths) -> list[RecordView]:
    """All records, ordered by the slides' paths."""
    if not paths.slides.is_dir():
        return []
    found = (_view(paths.slide(name)) for name in os.listdir(paths.slides))
    return sorted((view for view in found if view is not None), key=lambda view: (view.path, view.slide_id))


def _view(paths: SlidePaths) -> RecordView | None:
    content = _as_written(paths)
    if content is None:
        from mnbatch.results.commit import read_record

        record = read_record(paths)
        if record is None:
            return None
        content = record.model_dump()
    return view_of(content)


def view_of(content: Mapping[str, Any]) -> RecordView:
    """The view of a record's content."""
    waiting = content["waiting"]
    known = {name: content[name] for name in KNOWN}
    if waiting is None:
        return RecordView(**known, waits=None)
    waits = waiting["since"], waiting["text"], waiting["overdue"]
    return RecordView(**known, waits=waits, planned=waiting["state"] == PLANNED)


def _as_written(paths: SlidePaths) -> dict[str, Any] | None:
    """The record, where it is what was written, by a version that had all of these fields."""
    try:
        content = parse_json(read_bytes(paths.record))
        stated = content.pop(CHECKSUM)
        whole = stated == content_checksum(content) and content["slide_id"] == paths.root.name
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return content if whole and {*KNOWN, "waiting"} <= content.keys() else None
