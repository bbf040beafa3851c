"""One run at a time holds OUT.

On one host the kernel's file lock decides, so that a killed run never blocks the next. Across hosts (network shares
where such locks stay local) the lock's text decides: its heartbeat is its modification time.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from mnbatch.errors import LockHeldError
from mnbatch.results.files import storage_errors

HEARTBEAT_SECONDS = 30.0
STALE_SECONDS = 600.0
PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds OUT: host name, process id, start (seconds since the epoch)."""

    host: str
    pid: int
    start: float


@contextlib.contextmanager
def hold_lock(path: Path, *, stale_seconds: float = STALE_SECONDS) -> Iterator[Holder]:
    """Hold the lock at `path` while the block runs.

    A dead holder on this host is taken over at once; one on another host when its heartbeat is older than
    `stale_seconds`.

    Raises:
        LockHeldError: another run holds it; the message says who, where and since when.
        StorageError: the lock cannot be written.
    """
    with storage_errors(path):
        file = path.open("a+", encoding="utf-8")
    with file:
        _take(file, path, stale_seconds)
        me = Holder(socket.gethostname(), os.getpid(), round(time.time(), 3))
        with storage_errors(path):
            _write(file, asdict(me))
        stop = threading.Event()
        beat = threading.Thread(target=_beat, args=(path, stop), name="mnbatch-heartbeat", daemon=True)
        beat.start()
        try:
            yield me
        finally:
            stop.set()
            beat.join()
            # The file stays and says it is free: removing it would let two runs lock two different files.
            with contextlib.suppress(OSError):
                _write(file, {"released": True})


@contextlib.contextmanager
def wait_for_lock(path: Path, seconds: float) -> Iterator[Holder]:
    """As `hold_lock`; another holder is waited for.

    Raises:
        LockHeldError: the other did not end within `seconds`.
    """
    end = time.monotonic() + seconds
    while True:
        with contextlib.ExitStack() as stack:
            try:
                holder = stack.enter_context(hold_lock(path))
            except LockHeldError:
                if time.monotonic() >= end:
                    raise
            else:
                yield holder
                return
        time.sleep(PAUSE_SECONDS)


def read_holder(path: Path) -> Holder | None:
    """Who the lock's text names; None where it is absent, released or unreadable."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Holder(str(data["host"]), int(data["pid"]), float(data["start"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def current_holder(path: Path, *, stale_seconds: float = STALE_SECONDS) -> Holder | None:
    """Who holds the lock now; None where its text names a dead process, or another host whose heartbeat stopped."""
    holder = read_holder(path)
    if holder is None:
        return None
    if holder.host == socket.gethostname():
        return holder if _alive(holder.pid) else None
    return holder if time.time() - path.stat().st_mtime < stale_seconds else None


def _take(file: IO[str], path: Path, stale_seconds: float) -> None:
    kernel_says_free = _try_kernel_lock(file)
    if kernel_says_free is False:
        raise _held(read_holder(path), path)
    holder = current_holder(path, stale_seconds=stale_seconds)
    if holder is None:
        return
    elsewhere = holder.host != socket.gethostname()
    if elsewhere or (kernel_says_free is None and holder.pid != os.getpid()):
        raise _held(holder, path)


def _try_kernel_lock(file: IO[str]) -> bool | None:
    """True: locked; False: held by another process; None: this file system or platform cannot tell."""
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _held(holder: Holder | None, path: Path) -> LockHeldError:
    if holder is None:
        who = "another run"
    else:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder.start))
        who = f"process {holder.pid} on host {holder.host} since {since}"
    return LockHeldError(f"{path.parent} is held by {who}.", "Wait for that run to end, or stop it; then run again.")


def _write(file: IO[str], content: dict[str, object]) -> None:
    file.seek(0)
    file.truncate()
    file.write(json.dumps(content) + "\n")
    file.flush()
    os.fsync(file.fileno())


def _beat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(path)
