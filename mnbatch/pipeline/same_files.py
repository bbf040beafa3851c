"""Whether a machine sees the very files that were planned: a path can lead to another share, a mirror or a snapshot.

What is scored is kept under the sizes and times that the plan found. Where another machine read other pictures, every
later run would take its scores for those of the planned files.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime

from mnbatch.assay.cells import Slide
from mnbatch.imaging.formats.folder_images import state_of

CLOCK_STEP = 2.0
"""Seconds by which times of one file may differ between two ways to one share (FAT counts in twos)."""


def other_file(slide: Slide) -> str:
    """The first of the slide's files that is not the one that was planned, in words; "" where all are.

    A file that is not there, or could not be examined when the plan was made, is no other file: its cells are
    unreadable, which the next run looks at again.
    """
    for file in slide.everything:
        other = difference(os.path.join(slide.root, file.path), file.size, file.mtime_ns)
        if other:
            return f"{file.path} {other}"
    return ""


def difference(path: str, size: int, mtime_ns: int) -> str:
    """How the file at `path` is another one than that of this size and time; "" where it is the same, or not there."""
    try:
        found = state_of(path)
    except OSError:
        return ""
    known = size or mtime_ns
    if known and (found.size != size or abs(found.mtime_ns - mtime_ns) > CLOCK_STEP * 1e9):
        hint = "; was it copied without its time?" if found.size == size else ""
        return f"has {_said(found.size, found.mtime_ns)}, not {_said(size, mtime_ns)}{hint}"
    return ""


def _said(size: int, mtime_ns: int) -> str:
    try:
        at = datetime.fromtimestamp(mtime_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        at = "no possible time"
    return f"{size} bytes of {at}"
