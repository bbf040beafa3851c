"""The commit record on disk: read, switched in one step, and whatever it does not name swept away."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from pathlib import Path, PurePath
from typing import Any

from mnbatch.errors import StorageError
from mnbatch.files import is_leftover
from mnbatch.intake import parse_json, read_bytes, read_json, reason, short
from mnbatch.processes import runs, this_process
from mnbatch.results.checksums import content_checksum
from mnbatch.results.damage import altered, damage
from mnbatch.results.lock import check_still_held, is_joined, run_of
from mnbatch.results.out_files import write_atomically
from mnbatch.results.paths import GENERATION_PREFIX, STAGING_PREFIX, SlidePaths
from mnbatch.results.records import SlideRecord

__all__ = [
    "altered",
    "damage",
    "has_checksum",
    "has_leftovers",
    "is_damaged",
    "next_generation",
    "parse_record",
    "read_record",
    "staging_name",
    "sweep_slide",
    "write_record",
]

DAMAGED = "damaged"
"""The `stat_key` of a record in place of a damaged one; no files give it."""

_GENERATION = re.compile(r"g[1-9][0-9]{0,8}")
_STAGED = re.compile(
    re.escape(STAGING_PREFIX)
    + r"(?P<machine>[0-9a-f]{8})-(?P<pid>\d{1,10})-(?P<started>\d{1,20})-(?P<run>[0-9a-f]{1,12})-[0-9a-f]{8}"
)
RUN_LETTERS = 12
_HEX = re.compile(r"[0-9a-f]*")
_LONGEST_NAME = 1000
_MOST_CELLS = 10**9

CHECKSUM = "checksum"
"""Of record.json, over all of its other fields."""


def read_record(paths: SlidePaths) -> SlideRecord | None:
    """The record of a slide's directory; None where nothing was committed.

    A record that is there and cannot be understood counts as a failure of its slide (`is_damaged`), so that the slide
    is listed, the others go on, and the next run scores it again.
    """
    try:
        data = read_bytes(paths.record)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return _stand_in(paths, b"", f"it cannot be read ({reason(error)})")
    try:
        return parse_record(paths, data)
    except StorageError as error:
        return _stand_in(paths, data, error.message.rstrip("."))


def is_damaged(record: SlideRecord) -> bool:
    """Whether a record is only in place of one that cannot be understood."""
    return record.stat_key == DAMAGED


def _stand_in(paths: SlidePaths, data: bytes, why: str) -> SlideRecord:
    """A failed slide in place of a damaged record, under what can still be read of its names."""
    slide_id = paths.root.name
    try:
        content = parse_json(data, finite=False)
    except ValueError:
        content = None
    known = content if isinstance(content, dict) else {}

    def text(name: str, otherwise: str | None) -> Any:
        value = known.get(name)
        return value if isinstance(value, str) and value and len(value) <= _LONGEST_NAME else otherwise

    return SlideRecord(
        slide_id=slide_id,
        name=text("name", slide_id),
        path=text("path", slide_id),
        donor=text("donor", None),
        layout=text("layout", ""),
        status="failed",
        reason=f"the record of this slide is damaged: {why}",
        next_step="Run again to score the slide again, or restore its record.json from a copy of OUT.",
        transient=True,
        pseudonymised=known.get("pseudonymised") is True,
        stat_key=DAMAGED,
    )


def parse_record(paths: SlidePaths, data: bytes) -> SlideRecord:
    """A record from the bytes of its file.

    Raises:
        StorageError: it cannot be understood, or is not what was written.
    """
    try:
        content: dict[str, Any] = parse_json(data)
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
        stated = content.pop(CHECKSUM, None)
        record = SlideRecord.model_validate_json(json.dumps(content))
        _refuse_impossible(paths, record)
    except ValueError as error:
        raise _unreadable(paths, reason(error)) from error
    if stated is not None and stated != content_checksum(content):
        raise StorageError(
            f"{paths.record} was altered after it was written: its content does not give its checksum.",
            "Restore it from a copy, or delete this slide's directory and run again.",
        )
    return record


def _refuse_impossible(paths: SlidePaths, record: SlideRecord) -> None:
    """Raise a ValueError for what no run writes, though each value alone could be right."""
    generation = record.generation
    if record.slide_id != paths.root.name:
        raise ValueError(f"it is of the slide {short(record.slide_id)}")
    if generation is not None and not _GENERATION.fullmatch(generation):
        raise ValueError(f"its generation is {short(generation)!r}")
    if any(not name or PurePath(name).name != name or size < 0 for name, size in record.sizes.items()):
        raise ValueError("its files or their sizes cannot be")
    if not 0 <= record.unreadable <= record.cells <= _MOST_CELLS:
        raise ValueError(f"{record.unreadable} of {record.cells} cells are unreadable")


def write_record(paths: SlidePaths, record: SlideRecord) -> None:
    """Replace a slide's record in one durable step: the commit. Its last line is a checksum over all others.

    The run's token is compared with the lock's when all bytes are on the disk, as the last thing before the rename: a
    process that slept while another run took OUT over writes nothing.

    Raises:
        LockHeldError: another run took OUT over.
        StorageError: it cannot be written, or its generation is gone.
    """
    content: dict[str, Any] = json.loads(record.model_dump_json())
    content[CHECKSUM] = content_checksum(content)
    if paths.record.is_dir() and not paths.record.is_symlink():
        # Damage that no rename of a file would replace.
        shutil.rmtree(paths.record, ignore_errors=True)
    data = json.dumps(content, indent=1).encode() + b"\n"
    write_atomically(paths.record, data, durable=True, check=lambda: _may_commit(paths, record))


def _may_commit(paths: SlidePaths, record: SlideRecord) -> None:
    check_still_held(paths.lock)
    if record.generation is not None and not paths.generation(record.generation).root.is_dir():
        raise StorageError(
            f"The scores of slide {record.slide_id} were removed while they were committed: another run writes there.",
            "Run again when no other run holds OUT.",
        )


def _unreadable(paths: SlidePaths, what: str) -> StorageError:
    return StorageError(
        f"{paths.record} is not a slide record of this version of mnbatch ({what}).",
        "Use the version that wrote it, or delete this slide's directory and run again.",
    )


def staging_name(paths: SlidePaths) -> str:
    """Of this writer alone: machine, process and its start, run, and a random part.

    Process ids are the same in two containers that share OUT, and are given out again.
    """
    me = this_process()
    run = _run_letters(paths) or "0"
    return f"{STAGING_PREFIX}{me.machine}-{me.pid}-{me.started or 0}-{run}-{secrets.token_hex(4)}"


def _run_letters(paths: SlidePaths) -> str:
    """Of this process's run, for the name of what it stages; "" without a run."""
    run = run_of(paths.lock)
    # A token that a person chose may have letters that no such name has.
    return run[:RUN_LETTERS] if _HEX.fullmatch(run) else hashlib.blake2b(run.encode()).hexdigest()[:RUN_LETTERS]


def sweep_slide(
    paths: SlidePaths, record: SlideRecord | None, *, others: bool = False, superseded: str | None = None
) -> None:
    """Remove superseded generations, and what this process or a dead one of this machine left staged.

    A process that joined a run removes no generation but `superseded`: another one of that run may have made it a
    moment ago, and be about to commit it.

    Args:
        others: also what every other run staged; for the one command that holds OUT.
        superseded: the generation that this process has just replaced.
    """
    joined = is_joined(paths.lock)
    keep = record.generation if record is not None else None
    for entry in list(os.scandir(paths.root)):
        if entry.name.startswith(STAGING_PREFIX):
            if (_is_mine(entry.name) or _of_other_run(entry.name, paths) if others else _is_over(entry.name)) and (
                entry.is_dir(follow_symlinks=False)
            ):
                shutil.rmtree(entry.path, ignore_errors=True)
            continue
        if record is not None and is_damaged(record) and not entry.name.startswith(".tmp-"):
            # It cannot say which generation is true: all are kept for whoever restores it.
            continue
        stale_generation = entry.name.startswith(GENERATION_PREFIX) and entry.name[1:].isdigit() and entry.name != keep
        if joined and entry.name != superseded:
            stale_generation = False
        if entry.is_dir(follow_symlinks=False) and stale_generation:
            shutil.rmtree(entry.path, ignore_errors=True)
        elif entry.name.startswith(".tmp-") and (others or is_leftover(entry)):
            Path(entry.path).unlink(missing_ok=True)


def _is_mine(name: str) -> bool:
    match, me = _STAGED.fullmatch(name), this_process()
    return match is not None and (match["machine"], int(match["pid"]), match["started"]) == (
        *(me.machine, me.pid, me.started or "0"),
    )


def _is_over(name: str) -> bool:
    """Whether this process staged it and has let go of it, or one of this machine that is gone."""
    match = _STAGED.fullmatch(name)
    if match is None or match["machine"] != this_process().machine:
        return False
    started = "" if match["started"] == "0" else match["started"]
    return _is_mine(name) or runs(int(match["pid"]), started) is False


def _of_other_run(name: str, paths: SlidePaths) -> bool:
    match, run = _STAGED.fullmatch(name), _run_letters(paths)
    return match is None or not run or match["run"] != run


def has_leftovers(paths: SlidePaths) -> bool:
    """Whether an interrupted run left something to sweep."""
    names = [entry.name for entry in os.scandir(paths.root)]
    generations = [name for name in names if name.startswith(GENERATION_PREFIX) and name[1:].isdigit()]
    return any(name.startswith((STAGING_PREFIX, ".tmp-")) for name in names) or len(generations) > 1


def next_generation(paths: SlidePaths) -> str:
    """Name of the generation that a commit would make."""
    record = read_record(paths)
    there = {int(name[1:]) for name in os.listdir(paths.root) if _GENERATION.fullmatch(name)}
    if record is not None and is_damaged(record):
        return f"{GENERATION_PREFIX}{max(there, default=0) + 1}"
    number = 1
    if record is not None and record.generation is not None:
        number = int(record.generation[len(GENERATION_PREFIX) :]) + 1
    # Another writer that woke up too late may have put its generation there.
    while number in there:
        number += 1
    return f"{GENERATION_PREFIX}{number}"


def has_checksum(paths: SlidePaths) -> bool:
    """Whether a slide's record says what its content must give; not known of one that is no JSON."""
    try:
        return CHECKSUM in read_json(paths.record, finite=False)
    except (OSError, ValueError, TypeError):
        return False
