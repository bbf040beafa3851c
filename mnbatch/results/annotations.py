"""What people say about slides, kept apart from what the program found; a change is saved whole or not at all."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mnbatch.assay.sample_sheet import COLUMNS, REQUIRED, SampleRow
from mnbatch.csvfile import CsvError, csv_bytes, read_stored
from mnbatch.errors import StorageError
from mnbatch.intake import parse_json, read_bytes, reason
from mnbatch.results.checksums import Seals, add_lines, broken, checksum, content_checksum, name_of, parse_seals
from mnbatch.results.lock import wait_for_lock
from mnbatch.results.out_files import storage_errors, sync_folder, write_atomically
from mnbatch.results.paths import OutPaths

# Changes of annotations: all of a change or nothing of it, on a full disk and after a kill too.
#
# A change of several files (an import has a trail a slide, and every change the checksums) is written whole into
# `annotations/.journal`, which appears by one rename: from then on it is true. Then it is put in its place, which can
# be done any number of times, and the journal is removed. Who reads meanwhile, or after a kill in between, reads
# through the journal; who writes next puts it in its place first.


WAIT_SECONDS = 30.0
CHECKSUM = "checksum"
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class _Change:
    """Bytes of one file from `offset` on; the whole file where that is None, and no file where `data` is."""

    file: str
    offset: int | None
    data: bytes | None

    def over(self, before: bytes | None) -> bytes | None:
        """The file's content once the change is in place; None for no file."""
        if self.data is None:
            return None
        return self.data if self.offset is None else (before or b"")[: self.offset] + self.data


def change(
    paths: OutPaths, *, append: Mapping[Path, Rows] | None = None, replace: Mapping[Path, bytes] | None = None
) -> None:
    """Append lines to trails and replace files of the annotations, all of it or nothing.

    Raises:
        StorageError: nothing was changed; or all is kept in the journal and could not be put in its place yet, which
            the message says.
        LockHeldError: another change did not end in time.
    """
    with storage_errors(paths.annotations):
        paths.annotations.mkdir(parents=True, exist_ok=True)
    with wait_for_lock(paths.annotations_lock, WAIT_SECONDS):
        _put_in_place(paths, _journal(paths))
        changes = _changes(paths, append or {}, replace or {})
        write_atomically(paths.journal, _dump(changes), durable=True)
        _put_in_place(paths, changes)


def erase(
    paths: OutPaths, *, replace: Mapping[Path, bytes], rewrite: Mapping[Path, Rows], remove: Sequence[Path]
) -> None:
    """Replace files, write trails anew from the lines that stay, and remove files; all of it or nothing.

    For what must not stay in a trail that is otherwise only appended to: its chain begins again.

    Raises:
        StorageError, LockHeldError: as for `change`.
    """
    if not (replace or rewrite or remove):
        return
    with wait_for_lock(paths.annotations_lock, WAIT_SECONDS):
        _put_in_place(paths, _journal(paths))
        seals = read_seals(paths)
        files, trails, changes = dict(seals.files), dict(seals.trails), []
        for path, rows in rewrite.items():
            name = name_of(paths.annotations, path)
            data, trails[name] = add_lines(b"", rows, None)
            changes.append(_Change(name, None, data))
        for path, content in replace.items():
            name = name_of(paths.annotations, path)
            files[name] = checksum(content)
            changes.append(_Change(name, None, content))
        for path in remove:
            name = name_of(paths.annotations, path)
            files.pop(name, None)
            trails.pop(name, None)
            changes.append(_Change(name, None, None))
        changes.append(_Change(name_of(paths.annotations, paths.checksums), None, Seals(files, trails).to_bytes()))
        write_atomically(paths.journal, _dump(changes), durable=True)
        _put_in_place(paths, changes)


def read(paths: OutPaths, path: Path) -> bytes | None:
    """A file of the annotations as it was last changed; None where there is none.

    Raises:
        StorageError: it is there and cannot be read.
    """
    before = _journal(paths)
    data = _bytes(path)
    # A change that began after the first check and ended before the second is in the file by now.
    changes = before or _journal(paths)
    name = name_of(paths.annotations, path)
    for one in changes:
        if one.file == name:
            return one.over(data)
    return data if changes or before else _bytes(path)


def read_seals(paths: OutPaths) -> Seals:
    """What the annotations must hold."""
    return parse_seals(read(paths, paths.checksums))


def altered_trail(paths: OutPaths, path: Path, data: bytes | None) -> tuple[str, ...]:
    """What was done to a trail by hand, in words; empty where nothing was, or where it was never chained."""
    head = read_seals(paths).trails.get(name_of(paths.annotations, path))
    if data is None:
        return ("it is missing",) if head is not None else ()
    return broken(data, head)


def settle(paths: OutPaths) -> None:
    """Put in its place what a kill left in the journal.

    Raises:
        StorageError: it cannot be written yet; it is kept.
    """
    if paths.journal.exists():
        with wait_for_lock(paths.annotations_lock, WAIT_SECONDS):
            _put_in_place(paths, _journal(paths))


def _changes(paths: OutPaths, append: Mapping[Path, Rows], replace: Mapping[Path, bytes]) -> list[_Change]:
    seals = read_seals(paths)
    files, trails, found = dict(seals.files), dict(seals.trails), []
    for path, rows in append.items():
        data = _bytes(path) or b""
        name = name_of(paths.annotations, path)
        added, trails[name] = add_lines(data, rows, trails.get(name))
        found.append(_Change(name, len(data), added))
    for path, content in replace.items():
        name = name_of(paths.annotations, path)
        files[name] = checksum(content)
        found.append(_Change(name, None, content))
    return [*found, _Change(name_of(paths.annotations, paths.checksums), None, Seals(files, trails).to_bytes())]


def _put_in_place(paths: OutPaths, changes: Sequence[_Change]) -> None:
    """Make the files say what the journal says, and remove it."""
    if not changes:
        return
    try:
        for one in changes:
            _apply(paths.annotations / one.file, one)
        for folder in sorted({(paths.annotations / one.file).parent for one in changes}):
            sync_folder(folder)
        paths.journal.unlink(missing_ok=True)
        sync_folder(paths.annotations)
    except (OSError, StorageError) as error:
        why = error.message if isinstance(error, StorageError) else str(error.strerror or error)
        raise StorageError(
            f"All of it is kept in {paths.journal}, but could not be put in its place yet: {why.rstrip('.')}.",
            "Nothing has to be given again: correct the fault, and the next command that writes completes it.",
        ) from error


def _apply(path: Path, one: _Change) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if one.data is None:
        path.unlink(missing_ok=True)
        return
    if one.offset is None:
        write_atomically(path, one.data, durable=True)
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        size = os.fstat(descriptor).st_size
        if size < one.offset:
            raise StorageError(f"{path} has {size} bytes and had {one.offset}: restore it from a copy")
        file.seek(one.offset)
        left = memoryview(one.data)
        while left:
            left = left[file.write(left) or 0 :]
        os.fsync(descriptor)


def _bytes(path: Path) -> bytes | None:
    try:
        return read_bytes(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {reason(error)}.", "Check permissions of OUT.") from error


def _dump(changes: Sequence[_Change]) -> bytes:
    rows = [
        {"file": c.file, "offset": c.offset, "data": None if c.data is None else base64.b64encode(c.data).decode()}
        for c in changes
    ]
    return json.dumps({"changes": rows, CHECKSUM: content_checksum({"changes": rows})}).encode() + b"\n"


def _journal(paths: OutPaths) -> list[_Change]:
    """What the journal holds; nothing where there is none."""
    data = _bytes(paths.journal)
    if data is None:
        return []
    try:
        content = parse_json(data)
        if content.pop(CHECKSUM) != content_checksum(content):
            raise ValueError("its content does not give its checksum")
        return [_parse(row) for row in content["changes"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(
            f"{paths.journal} is damaged ({error}): a change of annotations was saved in it.",
            "Restore it from a copy; or delete it, and give the latest review, sheet, curve or sign-off again.",
        ) from error


def _parse(row: Mapping[str, Any]) -> _Change:
    name, offset = PurePosixPath(row["file"]), row["offset"]
    if name.is_absolute() or ".." in name.parts or not (offset is None or (isinstance(offset, int) and offset >= 0)):
        raise ValueError("a file outside of the annotations")
    data = row["data"]
    return _Change(str(name), offset, None if data is None else base64.b64decode(data, validate=True))


# What people say about slides, kept apart from what the program found.


def save_samples(paths: OutPaths, samples: Mapping[str, SampleRow]) -> None:
    """Keep the sample sheet in force, one row a slide, with the slide_id in place of what the sheet called it."""
    rows = []
    for slide_id, sample in sorted(samples.items()):
        fields = sample.stored | {"slide": slide_id}
        rows.append([fields[name] for name in COLUMNS])
    change(paths, replace={paths.samples: csv_bytes(COLUMNS, rows)})


def load_samples(paths: OutPaths) -> dict[str, dict[str, str]]:
    """The sample sheet in force: slide_id -> its other columns, as text, empty ones left out.

    Raises:
        StorageError: the sheet is there and cannot be read, or is not what `save_samples` wrote.
    """
    data = read(paths, paths.samples)
    if data is None:
        return {}
    try:
        # A version of mnbatch that came before wrote nothing at all for an empty sheet.
        rows = list(read_stored(data, REQUIRED)) if data else []
    except CsvError as error:
        raise StorageError(
            f"The sample sheet {paths.samples} cannot be read: {reason(error)}.",
            "Run again with --samples, which writes it again, or restore OUT from a copy.",
        ) from error
    return {row["slide"]: {name: value for name, value in row.items() if name != "slide" and value} for row in rows}
