"""Files of OUT that were found to be what was written, by their states: those that did not change are not read again.

A state is size, times of writing and change, and inode: a file that is written again, altered, moved or replaced has
another one, whatever its size. What changes under an unchanged state (a failing disk) is for `mnbatch verify` to find,
and `mnbatch report --force` and `run --verify` read everything. Kept in `runs/`: of one machine, no part of the
results.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mnbatch.errors import StorageError
from mnbatch.intake import read_json
from mnbatch.results.checksums import checksum, content_checksum
from mnbatch.results.lock import check_still_held
from mnbatch.results.out_files import storage_errors, write_atomically
from mnbatch.results.paths import OutPaths

SETTLED_SECONDS = 2.0
"""A file that changed less long ago is read again: another change within one tick of the clock would not show."""

CHECKSUM = "checksum"
_SECOND = 10**9


@dataclass(frozen=True, slots=True)
class FilesState:
    """States of some files that belong together.

    Attributes:
        lines: for each file what tells it from a changed one, or the number of the error.
        settled: no file changed a moment ago, on a file system that knows parts of seconds.
    """

    lines: tuple[object, ...]
    settled: bool


def state_of(folder: Path, names: Iterable[str]) -> FilesState:
    """How files are now, before they are read."""
    lines: list[object] = []
    newest, fine, lost = 0, False, os.name == "nt"  # the time of the last change is not to be had there
    root = os.fspath(folder)
    for name in names:
        try:
            stat = os.stat(f"{root}/{name}")
        except OSError as error:
            lines.append((name, error.errno))
            lost = True
        else:
            lines.append((name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino))
            newest = max(newest, stat.st_mtime_ns, stat.st_ctime_ns)
            fine = fine or bool(stat.st_mtime_ns % _SECOND)
    settled = fine and not lost and newest < time.time_ns() - SETTLED_SECONDS * _SECOND
    return FilesState(tuple(lines), settled)


@dataclass(slots=True)
class WholeFiles:
    """What was found whole.

    Attributes:
        before: name of some files -> digest of their state and of what they must hold, from earlier reports.
        now: the same, found in this one or known before and asked for.
    """

    before: Mapping[str, str] = field(default_factory=dict)
    now: dict[str, str] = field(default_factory=dict)

    def has(self, name: str, stated: object, state: FilesState) -> bool:
        """Whether these files were found whole as they are now.

        Args:
            stated: what they must hold, as plain values.
        """
        digest = _digest(stated, state)
        if self.before.get(name) != digest:
            return False
        self.now[name] = digest
        return True

    def add(self, name: str, stated: object, state: FilesState) -> None:
        """They were read, and are whole; `state` is from before that."""
        if state.settled:
            self.now[name] = _digest(stated, state)

    def keep(self, paths: OutPaths) -> None:
        """Write it, where it changed. The caller holds OUT."""
        if self.now == dict(self.before):
            return
        check_still_held(paths.lock)
        content: dict[str, Any] = {"whole": self.now}
        text = json.dumps({**content, CHECKSUM: content_checksum(content)})
        # Without it the next report takes longer; that is no reason to fail this one.
        with contextlib.suppress(StorageError), storage_errors(paths.runs):
            paths.runs.mkdir(exist_ok=True)
            write_atomically(paths.whole_files, text.encode() + b"\n")


def read_whole(paths: OutPaths) -> WholeFiles:
    """What is kept; nothing where there is none, or it is not what was written."""
    try:
        content = read_json(paths.whole_files)
        if content.pop(CHECKSUM) != content_checksum(content):
            return WholeFiles()
        return WholeFiles({str(name): str(digest) for name, digest in content["whole"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return WholeFiles()


def _digest(stated: object, state: FilesState) -> str:
    return checksum(json.dumps([stated, state.lines], sort_keys=True).encode("utf-8", "surrogateescape"))
