"""The manifest of the latest run and the JSON-lines log of each run."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import IO, Any, Self

from mnbatch import __version__
from mnbatch.errors import Interrupted, LockHeldError, MnbatchError
from mnbatch.intake import read_json
from mnbatch.results.lock import check_still_held
from mnbatch.results.out_files import storage_errors, write_atomically
from mnbatch.results.paths import OutPaths

_MOST_ATTEMPTS = 10**6
PACKAGES = ("mnbatch", "torch", "torchvision", "numpy", "pillow", "tifffile", "imagecodecs", "scikit-image", "pydantic")


def now() -> str:
    """UTC time, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a number may depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            # Of a checkout what was installed may be older than what runs.
            found[name] = __version__ if name == "mnbatch" else metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


class Manifest:
    """`OUT/manifest.json`: written at the start of a run, again at its end, and readable in between.

    Args:
        paths: of OUT.
        settings: the run's settings as plain JSON values.
        origins: where each setting came from.
        private: only the owner may read it.
    """

    def __init__(
        self, paths: OutPaths, settings: Mapping[str, Any], origins: Mapping[str, str], *, private: bool = False
    ) -> None:
        self._path, self._runs, self._private, self._lock = paths.manifest, paths.runs, private, paths.lock
        self._false_start, self._archived = paths.false_start, paths.archived
        before = read_manifest(paths) or {}
        self._attempts: dict[str, int] = {
            slide_id: _attempts(known) for slide_id, known in before.get("slides", {}).items()
        }
        self.content: dict[str, Any] = {
            "schema_version": 1,
            "status": "running",
            "exit_code": None,
            "started": now(),
            "finished": None,
            "message": "",
            "command": sys.argv,
            "settings": dict(settings),
            "origins": dict(origins),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "platform": platform.platform(),
            "versions": dict(versions()),
            "device": None,
            "models": [],
            "slides": {},
            "skipped_files": 0,
            "not_in_any_slide": [],
        }

    def slide(self, slide_id: str, **fields: Any) -> None:
        """Add what is known of a slide (status, why, attempts, seconds, reason)."""
        known = self.content["slides"].setdefault(slide_id, {"attempts": self._attempts.get(slide_id, 0)})
        known.update(fields)

    def attempt(self, slide_id: str) -> None:
        """Count that a slide is about to be scored; the number goes on from the run before."""
        self._attempts[slide_id] = self._attempts.get(slide_id, 0) + 1
        self.slide(slide_id, attempts=self._attempts[slide_id])

    def write(self) -> None:
        """Put the present content in place; LockHeldError where another run took OUT over."""
        check_still_held(self._lock)
        text = json.dumps(self.content, indent=1, default=str)
        # It holds real names: what a kill leaves of it must be where such names may be.
        write_atomically(self._path, text.encode() + b"\n", private=self._private, staged_in=self._runs)
        self._false_start.unlink(missing_ok=True)
        self._archived.unlink(missing_ok=True)

    def finish(self, status: str, exit_code: int, message: str = "") -> None:
        """Write the end of the run, with the error that ended it if there was one."""
        self.content.update(status=status, exit_code=exit_code, finished=now(), message=message)
        self.write()


def read_manifest(paths: OutPaths) -> dict[str, Any] | None:
    """The manifest of the latest run; None where there is none or it cannot be read.

    Nothing depends on it but what `status` says of that run and the number of attempts, so what is not as it was
    written is left out: `settings` and `slides` are objects, and each slide is one.
    """
    try:
        content = read_json(paths.manifest, finite=False)
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict):
        return None
    for name in ("settings", "slides", "origins"):
        if not isinstance(content.get(name, {}), dict):
            del content[name]
    slides = {name: known for name, known in content.get("slides", {}).items() if isinstance(known, dict)}
    return {**content, "slides": slides}


def write_archived(paths: OutPaths, *, pictures: bool) -> None:
    """Note that OUT is folded: reports have no galleries until one is asked for, or until the next run.

    Raises:
        StorageError: it cannot be written.
    """
    write_atomically(paths.archived, json.dumps({"at": now(), "pictures": pictures}).encode() + b"\n")


@contextlib.contextmanager
def noting_false_start(paths: OutPaths) -> Iterator[None]:
    """Note in the logs of OUT why a run ended before it had written its manifest: the share was not mounted, say.

    Only where OUT has results; a run that did not start because another one holds OUT is no fault. The next run that
    starts removes the note.
    """
    before = _state_of(paths.manifest)
    try:
        yield
    except MnbatchError as error:
        started = _state_of(paths.manifest) != before
        if not started and not isinstance(error, LockHeldError | Interrupted) and paths.batch.exists():
            _note_false_start(paths, error)
        raise


def read_false_start(paths: OutPaths) -> dict[str, Any] | None:
    """Of the latest run, where it ended before it could take OUT: started, finished, exit_code, host, message."""
    try:
        content = read_json(paths.false_start, finite=False)
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or not isinstance(content.get("finished"), str):
        return None
    return {name: content.get(name) for name in ("started", "finished", "exit_code", "host", "message")}


def _note_false_start(paths: OutPaths, error: MnbatchError) -> None:
    at = now()
    content = {"started": at, "finished": at, "exit_code": error.exit_code, "host": socket.gethostname()}
    data = json.dumps({**content, "message": error.message}, indent=1).encode() + b"\n"
    # The first error is the one to be shown, whatever becomes of the note.
    with contextlib.suppress(MnbatchError, OSError):
        write_atomically(paths.false_start, data)


def _state_of(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _attempts(known: Mapping[str, Any]) -> int:
    number = known.get("attempts", 0)
    return number if isinstance(number, int) and 0 <= number < _MOST_ATTEMPTS else 0


class RunLog:
    """One JSON object a line: time, level, event and its fields. Tracebacks live here and nowhere else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with storage_errors(path):
            self._file: IO[str] = path.open("a", encoding="utf-8")

    @classmethod
    def start(cls, paths: OutPaths) -> Self:
        """Open the log of a new run."""
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        return cls(paths.runs / f"{stamp}-{os.getpid()}.jsonl")

    def write(self, event: str, *, level: str = "info", error: BaseException | None = None, **fields: Any) -> None:
        """Append one event; with `error`, its whole traceback."""
        line: dict[str, Any] = {"time": now(), "level": level, "event": event, **fields}
        if error is not None:
            line["error"] = str(error)
            line["traceback"] = "".join(traceback.format_exception(error))
        with storage_errors(self.path):
            self._file.write(json.dumps(line, default=str) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file; a full disk was reported when it was written to."""
        with contextlib.suppress(OSError):
            self._file.close()


def note(log: Path, event: str, **fields: Any) -> None:
    """Append one event to the log of a run that is over.

    Raises:
        StorageError: it cannot be written.
    """
    after = RunLog(log)
    try:
        after.write(event, **fields)
    finally:
        after.close()
