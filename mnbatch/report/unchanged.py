"""Whether anything in OUT changed since its reports were made; where nothing did, a report costs a look at each file.

After a report the state of every file that it read or wrote is kept: size, times and inode, never the content. A file
that is written again, altered, moved or replaced has another state, whatever its size: its time of change is the
system's. What changes under an unchanged state (a failing disk) is found by `mnbatch verify`, as before.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import operator
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mnbatch.errors import StorageError
from mnbatch.intake import read_json
from mnbatch.report.build import ReportedSlide, ReportSummary, build_reports
from mnbatch.report.derived_files import digest
from mnbatch.report.slide_reports import ReportOptions
from mnbatch.results.checksums import content_checksum
from mnbatch.results.lock import check_still_held
from mnbatch.results.out_files import storage_errors, write_atomically
from mnbatch.results.paths import GENERATION_PREFIX, OutPaths
from mnbatch.results.roster import Samples
from mnbatch.results.store import Store

CHECKSUM = "checksum"
TICK_SECONDS = 0.03
"""Times of files move on in steps of up to 10 ms; after this wait a further change of a file shows."""

_SECOND = 10**9
_LOCK = "lock.json"
_NAME = operator.attrgetter("name")


@dataclass(frozen=True, slots=True)
class _States:
    """Digests over the states of files in OUT.

    Attributes:
        given: of the files that reports read; made: of those that they write.
        fine: whether times have parts of seconds; without them two changes in one second cannot be told.
    """

    given: str
    made: str
    fine: bool


def bring_up_to_date(store: Store, options: ReportOptions, samples: Samples) -> ReportSummary:
    """As `build_reports`; where no file of OUT changed since it last ended, what it said then.

    Such a summary has neither doses nor bases: who needs them asks `build_reports`. The caller holds OUT.

    Raises:
        StorageError: a file cannot be read or written.
    """
    key = digest(asdict(options), {slide_id: dict(row) for slide_id, row in samples.items()})
    before = None if options.force else _states(store.paths)
    known = None if before is None else _known(store.paths, key, before)
    if known is not None:
        return known
    if not options.force:
        store.trust_states()
    made = build_reports(store, options, samples)
    if before is not None:
        _remember(store.paths, key, before, made)
    return made


def _known(paths: OutPaths, key: str, now: _States) -> ReportSummary | None:
    """What the last report said, where it was made of the files that are there now and with the same options."""
    try:
        content = read_json(paths.report_state)
        if content.pop(CHECKSUM) != content_checksum(content):
            return None
        if content["key"] != key or content["states"] != [now.given, now.made]:
            return None
        return ReportSummary(
            slides=tuple(ReportedSlide(*slide) for slide in content["slides"]),
            copies=content["copies"],
            donors=content["donors"],
            slides_built=0,
            donors_built=0,
            index_built=False,
            alike_donors=tuple(tuple(group) for group in content["alike_donors"]),
            contradicted=tuple((donor, warning) for donor, warning in content["contradicted"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _remember(paths: OutPaths, key: str, before: _States, made: ReportSummary) -> None:
    """Keep the states of all files, unless something may be otherwise the next time though no file changes."""
    if made.damaged or made.controls.flagged:
        # A file that could not be read may be readable the next time; what is wrong with controls is told each time.
        return
    time.sleep(TICK_SECONDS)
    after = _states(paths)
    if after is None or not after.fine or after.given != before.given:
        return
    check_still_held(paths.lock)
    content: dict[str, Any] = {
        "key": key,
        "states": [after.given, after.made],
        "slides": [[slide.slide_id, slide.status, slide.reason, slide.acknowledged] for slide in made.slides],
        "copies": made.copies,
        "donors": made.donors,
        "alike_donors": [list(group) for group in made.alike_donors],
        "contradicted": [list(one) for one in made.contradicted],
    }
    text = json.dumps({**content, CHECKSUM: content_checksum(content)})
    # Without it the next report takes longer; that is no reason to fail this one.
    with contextlib.suppress(StorageError), storage_errors(paths.runs):
        paths.runs.mkdir(exist_ok=True)
        write_atomically(paths.report_state, text.encode() + b"\n")


def _states(paths: OutPaths) -> _States | None:
    """States of all that reports read and write; None where they cannot tell that nothing changed."""
    if os.name == "nt":
        # The time of the last change is not to be had there.
        return None
    given, made = (hashlib.blake2b(digest_size=16) for _ in range(2))
    fine = False
    try:
        for name, stat in _files(paths):
            line = f"{name}\0{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}\n"
            (given if _is_given(name) else made).update(line.encode("utf-8", "surrogateescape"))
            fine = fine or bool(stat.st_mtime_ns % _SECOND)
    except (OSError, _LinkError):
        return None
    return _States(given.hexdigest(), made.hexdigest(), fine)


class _LinkError(Exception):
    """A link leads to where changes would not be seen."""


def _files(paths: OutPaths) -> Iterator[tuple[str, os.stat_result]]:
    """Path below OUT and state of each file, in the order of their names."""
    for path in (paths.batch, paths.index, paths.slides_csv, paths.donors_csv, paths.donors_xlsx, paths.report_seal):
        if path.is_symlink():
            raise _LinkError
        if path.exists():
            yield path.name, path.stat()
    for folder in (paths.annotations, paths.donors, paths.slides):
        if folder.is_symlink():
            raise _LinkError
        if folder.is_dir():
            found: list[tuple[str, os.stat_result]] = []
            _add_below(folder, folder.name, found)
            yield from found


def _add_below(folder: Path | str, name: str, found: list[tuple[str, os.stat_result]]) -> None:
    """To a list, because each level of nested generators would pass on every one of tens of thousands of files."""
    with os.scandir(folder) as entries:
        in_order = sorted(entries, key=_NAME)
    for entry in in_order:
        if entry.name == _LOCK:
            continue
        if entry.is_symlink():
            raise _LinkError
        within = f"{name}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            _add_below(entry.path, within, found)
        else:
            found.append((within, entry.stat(follow_symlinks=False)))


def _is_given(name: str) -> bool:
    """Whether reports read a file and never write it: annotations, records and generations."""
    first, *rest = name.split("/")
    if first == "slides":
        generation = len(rest) > 2 and rest[1].startswith(GENERATION_PREFIX) and rest[1][1:].isdigit()
        return generation or rest[-1] == "record.json"
    return first in ("annotations", "batch.json")
