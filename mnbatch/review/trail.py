"""The append-only trail: every decision that was ever saved, one JSON line each, a file a slide."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Generic, TypeVar

from mnbatch.intake import parse_json
from mnbatch.results.annotations import altered_trail, change, read, read_seals, settle
from mnbatch.results.checksums import checksum
from mnbatch.results.lock import wait_for_lock
from mnbatch.results.manifest import now
from mnbatch.results.out_files import storage_errors
from mnbatch.results.paths import OutPaths
from mnbatch.review.decisions import Decision, parse_decision

# Trails: files of JSON lines that are only ever appended to, each line chained to the one before.


Entry = TypeVar("Entry")


@dataclass(frozen=True, slots=True)
class Lines(Generic[Entry]):
    """A trail as it was read.

    Attributes:
        torn: lines that cannot be read.
        altered: what was done to the trail by hand, in words.
    """

    entries: tuple[Entry, ...] = ()
    torn: int = 0
    altered: tuple[str, ...] = ()


def read_lines(paths: OutPaths, path: Path, parse: Callable[[Any], Entry]) -> Lines[Entry]:
    """All entries of a trail, in order; none where there is no file.

    Args:
        parse: makes an entry of a line's JSON value; a ValueError, TypeError, KeyError or AttributeError says that it
            is none.

    Raises:
        StorageError: the file is there and cannot be read.
    """
    data = read(paths, path)
    entries, torn = [], 0
    for line in filter(None, (data or b"").split(b"\n")):
        try:
            entries.append(parse(parse_json(line)))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            torn += 1
    return Lines(tuple(entries), torn, altered_trail(paths, path, data))


# The append-only trail: every decision that was ever saved, one JSON line each, a file a slide.
#
# Nothing in it is changed or removed. A line that a kill tore is kept, ends where it was torn, and is counted. One
# writer at a time holds the trail's own lock, so that a review can be saved while a run holds OUT.


WAIT_SECONDS = 30.0
TOLERANCE = timedelta(minutes=10)
"""Between two clocks: that of the reviewer's browser and this machine's."""


@dataclass(frozen=True, slots=True)
class Trail:
    """All decisions on one slide, in the order in which it was saved.

    Attributes:
        torn: lines that cannot be read.
        ahead: entries that say a later time than that at which they were saved; they are taken as any other.
        altered: what was done to the trail by hand, in words.
    """

    entries: tuple[Decision, ...]
    torn: int = 0
    ahead: frozenset[Decision] = frozenset()
    altered: tuple[str, ...] = ()


@contextlib.contextmanager
def writing(paths: OutPaths, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold the trail; another writer is waited for.

    Raises:
        LockHeldError: the other did not end within `wait_seconds`.
    """
    with storage_errors(paths.reviews):
        paths.reviews.mkdir(parents=True, exist_ok=True)
    with wait_for_lock(paths.review_lock, wait_seconds):
        settle(paths)
        yield


def append(paths: OutPaths, slide_id: str, decisions: Sequence[Decision], source: str) -> int:
    """As `append_all`, for one slide."""
    return append_all(paths, {slide_id: decisions}, source)


def append_all(
    paths: OutPaths, by_slide: Mapping[str, Sequence[Decision]], source: str, again: Collection[Decision] = ()
) -> int:
    """Add decisions that the trails have not yet, all or none; say how many. The caller holds the trail (`writing`).

    Args:
        source: where they came from: a file's name, or the local server.
        again: decisions that are added although the trails have them, so that they are the last.

    Raises:
        StorageError: the trails cannot be written.
    """
    stamp, rows = {"saved": now(), "source": source}, {}
    for slide_id, decisions in by_slide.items():
        known = set(read_trail(paths, slide_id).entries)
        new = [decision for decision in dict.fromkeys(decisions) if decision not in known or decision in again]
        fresh = [{**decision.fields(), **stamp} for decision in new]
        if fresh:
            rows[paths.review_trail(slide_id)] = fresh
    if rows:
        change(paths, append=rows)
    return sum(map(len, rows.values()))


def read_trail(paths: OutPaths, slide_id: str) -> Trail:
    """All decisions on a slide.

    Raises:
        StorageError: the trail is there and cannot be read.
    """
    lines = read_lines(paths, paths.review_trail(slide_id), _parse)
    entries = tuple(decision for decision, _ in lines.entries)
    ahead = frozenset(decision for decision, saved in lines.entries if is_ahead(decision, saved))
    return Trail(entries, lines.torn, ahead, lines.altered)


def trail_digest(paths: OutPaths, slide_id: str) -> str:
    """Checksum over the slide's trail and whether it is whole; "" where there never was a decision."""
    path = paths.review_trail(slide_id)
    data = read(paths, path)
    altered = altered_trail(paths, path, data)
    return "" if data is None and not altered else checksum(b"\n".join([data or b"", *map(str.encode, altered)]))


def reviewed_slides(paths: OutPaths) -> list[str]:
    """Ids of the slides that have a trail, of which some may have left OUT."""
    there = {path.stem for path in paths.reviews.glob("*.jsonl")} if paths.reviews.is_dir() else set()
    folder, suffix = f"{paths.reviews.name}/", ".jsonl"
    sealed = (name for name in read_seals(paths).trails if name.startswith(folder) and name.endswith(suffix))
    return sorted(there | {name[len(folder) : -len(suffix)] for name in sealed})


def is_ahead(decision: Decision, saved: str) -> bool:
    """Whether a decision says a time after it was saved, by more than clocks differ; not known of an old line."""
    try:
        return decision.moment > datetime.fromisoformat(saved) + TOLERANCE
    except (ValueError, TypeError, OverflowError):
        return False


def _parse(row: Mapping[str, Any]) -> tuple[Decision, str]:
    return parse_decision(row, withdrawn=True), str(row.get("saved", ""))
