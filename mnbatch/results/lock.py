"""One command at a time holds OUT."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import math
import os
import secrets
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mnbatch.errors import LockHeldError, StorageError
from mnbatch.files import share_time, storage_errors
from mnbatch.intake import parse_json
from mnbatch.processes import ProcessIdentity, runs, this_process
from mnbatch.results.out_files import sweep_out
from mnbatch.results.paths import OutPaths

# One run at a time holds OUT.
#
# On one machine the kernel's file lock decides, so that a killed run never blocks the next. Across machines (network
# shares where such locks stay local) the lock's text decides: its heartbeat is its modification time, by the share's
# own clock. A run whose lock was taken over finds another token in it before it commits, and stops.


HEARTBEAT_SECONDS = 10.0
LOOK_SECONDS = 12.0
"""Between two checks of a heartbeat that seems to have stopped; above `HEARTBEAT_SECONDS`."""
STALE_SECONDS = 600.0
PAUSE_SECONDS = 0.05
LARGEST_LOCK = 10_000
LAST_YEAR = 4e9
"""Seconds since the epoch; a later start is no time."""

_held: dict[Path, Holder] = {}
"""What this process holds, or joined."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds OUT.

    Attributes:
        host: name of the machine.
        pid: process id.
        start: when it took the lock, seconds since the epoch, by its own clock; 0 where that is unknown.
        token: of this hold alone; "" from a version that had none.
        boot, space, process_start: of the process, as in `ProcessIdentity`.
        inode: number of the lock's file; another one in a copy of OUT. 0 where it is unknown.
        path: of the lock's file, where this process holds it.
        shared: several processes of one run hold it together (`mnbatch.results.shared_lock`); one of them is named.
        joined: this process writes for a run that others hold or share, so it removes nothing that they may have made.
    """

    host: str
    pid: int
    start: float
    token: str = ""
    boot: str = ""
    space: str = ""
    process_start: str = ""
    inode: int = 0
    path: Path | None = None
    shared: bool = False
    joined: bool = False

    @property
    def process(self) -> ProcessIdentity:
        """The process that took the lock."""
        return ProcessIdentity(self.host, self.boot, self.space, self.pid, self.process_start)

    def still_mine(self) -> bool:
        """Whether the lock on the disk is still this one; False when another run took it over."""
        if self.path is None:
            return True
        now = read_holder(self.path)
        return now is not None and now.token == self.token


@contextlib.contextmanager
def hold_lock(
    path: Path, *, stale_seconds: float = STALE_SECONDS, look_seconds: float | None = None, over: str = ""
) -> Iterator[Holder]:
    """Hold the lock at `path` while the block runs.

    A dead holder on this machine is taken over at once; one on another when its heartbeat is older than
    `stale_seconds` by the clock of the share, and did not move between two looks `look_seconds` apart.

    Args:
        over: token of a run that is known to be over: its hold is taken over at once, also from another machine.

    Raises:
        LockHeldError: another run holds it; the message says who, where and since when.
        StorageError: the lock cannot be written.
    """
    with storage_errors(path):
        file = open_lock(path)
    with file:
        take_lock(file, path, stale_seconds, LOOK_SECONDS if look_seconds is None else look_seconds, over=over)
        with storage_errors(path):
            me = write_me(file, path)
        with holding(me):
            try:
                yield me
            finally:
                release(file, me)


@contextlib.contextmanager
def holding(me: Holder) -> Iterator[None]:
    """What this process writes in the block it writes as `me`, whose heartbeat goes on meanwhile."""
    assert me.path is not None
    stop = threading.Event()
    beats = threading.Thread(target=_beat, args=(me, stop), name="mnbatch-heartbeat", daemon=True)
    _held[me.path] = me
    beats.start()
    try:
        yield
    finally:
        stop.set()
        beats.join()
        _held.pop(me.path, None)


def release(file: IO[bytes], me: Holder) -> None:
    """Let the lock say that it is free. The file stays: removing it would let two runs lock two different files."""
    with contextlib.suppress(OSError):
        if me.still_mine():
            _write(file, {"released": True})


@contextlib.contextmanager
def wait_for_lock(path: Path, seconds: float, over: str = "") -> Iterator[Holder]:
    """As `hold_lock`; another holder is waited for.

    Raises:
        LockHeldError: the other did not end within `seconds`.
    """
    end = time.monotonic() + seconds
    while True:
        with contextlib.ExitStack() as stack:
            try:
                holder = stack.enter_context(hold_lock(path, over=over))
            except LockHeldError:
                if time.monotonic() >= end:
                    raise
            else:
                yield holder
                return
        time.sleep(PAUSE_SECONDS)


def check_still_held(path: Path) -> None:
    """Before anything is made true: where this process took the lock at `path`, it must still be its own.

    Raises:
        LockHeldError: another run took it over meanwhile.
    """
    me = _held.get(path.absolute())
    if me is not None and not me.still_mine():
        other = read_holder(path)
        who = "another run" if other is None else f"process {other.pid} on host {other.host}"
        raise LockHeldError(
            f"{path.parent} was taken over by {who} while this run was paused; this run writes nothing more.",
            "Let the other run end; it does what this one left.",
        )


@contextlib.contextmanager
def join_run(path: Path, token: str) -> Iterator[None]:
    """Work for the run that holds the lock at `path`, which gave its token: what it may write, this process may.

    Raises:
        LockHeldError: no run with this token holds it.
    """
    holder = read_holder(path)
    if holder is None or not token or holder.token != token:
        raise LockHeldError(
            f"No run with this token holds {path.parent}.", "Give the token of the run that waits for these slides."
        )
    # Whose process it is does not matter here: the token is compared, and nothing else.
    _held[path.absolute()] = dataclasses.replace(holder, path=path.absolute(), joined=True)
    try:
        yield
    finally:
        _held.pop(path.absolute(), None)


def run_of(path: Path) -> str:
    """The token of the run that this process holds the lock at `path` for; "" for none."""
    me = _held.get(path.absolute())
    return "" if me is None else me.token


def is_joined(path: Path) -> bool:
    """Whether other processes may write to OUT under the same token as this one."""
    me = _held.get(path.absolute())
    return me is not None and me.joined


def read_holder(path: Path) -> Holder | None:
    """Who the lock's text names; None where it is absent, released or unreadable."""
    found = look_at(path)
    return found if isinstance(found, Holder) else None


def current_holder(path: Path, *, stale_seconds: float = STALE_SECONDS) -> Holder | None:
    """Who holds the lock now, as one check tells; None where it names a dead process, is a copy, or its heartbeat
    stopped."""
    holder = read_holder(path)
    if holder is None or _is_copy(holder, path):
        return None
    alive = _alive(holder)
    if alive is not None:
        return holder if alive else None
    return holder if _age(path) < stale_seconds else None


def take_lock(
    file: IO[bytes],
    path: Path,
    stale_seconds: float = STALE_SECONDS,
    look_seconds: float = LOOK_SECONDS,
    over: str = "",
) -> None:
    """Return where the lock is free; LockHeldError where it is not."""
    kernel_says_free = try_kernel_lock(file)
    found = look_at(path)
    if kernel_says_free is False:
        raise held_by(found, path)
    if found is None or (over and isinstance(found, Holder) and found.token == over):
        return
    if isinstance(found, Holder):
        if _is_copy(found, path) or (kernel_says_free and _same_kernel_lock(found, file)):
            return
        alive = _alive(found)
        if alive is False or (alive and found.pid == os.getpid()):
            return
        if alive and not kernel_says_free:
            raise held_by(found, path)
    with storage_errors(path):
        # A text that names nobody is what a kill left in the middle of writing it: whoever lives on this machine would
        # be known to the kernel, and elsewhere the text would be finished, or the heartbeat move, between two looks.
        torn = isinstance(found, str) and kernel_says_free
        if (not torn and _age(path) < stale_seconds) or _beats(path, look_seconds):
            raise held_by(found, path)


def _same_kernel_lock(holder: Holder, file: IO[bytes]) -> bool:
    """Whether a living holder would have been seen by the kernel: it is of this machine, or of a container on it."""
    me = this_process()
    if holder.process.same_machine(me):
        return True
    # Two containers on one kernel share its file locks where both see the same file of the same mount.
    return bool(holder.boot) and holder.boot == me.boot and holder.inode == _inode(file.fileno())


def _is_copy(holder: Holder, path: Path) -> bool:
    """Whether the text was copied here with the folder around it: its holder holds the file that it was copied from."""
    if not holder.inode or not holder.boot or holder.boot != this_process().boot:
        # Two machines may number the files of a share differently.
        return False
    with contextlib.suppress(OSError):
        return path.stat().st_ino != holder.inode
    return False


def _alive(holder: Holder) -> bool | None:
    """None: of another machine, shared with processes that the text does not name, or nobody can tell."""
    if holder.shared:
        return None
    return runs(holder.pid, holder.process_start) if holder.process.same_machine(this_process()) else None


def _age(path: Path) -> float:
    """Seconds since the last heartbeat by the clock of the share; below 0 for one dated ahead.

    Where nothing can be written (a check from outside), by our own clock.
    """
    beat = path.stat().st_mtime
    try:
        return share_time(path.parent) - beat
    except OSError:
        return time.time() - beat


def _beats(path: Path, look_seconds: float) -> bool:
    """Whether the heartbeat moves between two looks."""
    first = look_at(path), path.stat().st_mtime_ns
    time.sleep(look_seconds)
    return (look_at(path), path.stat().st_mtime_ns) != first


def open_lock(path: Path) -> IO[bytes]:
    """The lock's file, made where it is absent; StorageError where something else is in its place."""
    if path.exists() and not path.is_file():
        raise StorageError(f"{path} is not a file, so no run can hold {path.parent}.", "Remove it and run again.")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    return os.fdopen(descriptor, "r+b", buffering=0)


def try_kernel_lock(file: IO[bytes], *, shared: bool = False) -> bool | None:
    """True: locked; False: held by another process; None: this file system or platform cannot tell."""
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def look_at(path: Path) -> Holder | str | None:
    """What the lock says: a holder; None where it is absent or free; a text that says why it cannot be understood."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return "it is not a file"
        with path.open("rb") as file:
            data = file.read(LARGEST_LOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        return error.strerror or str(error)
    if not data.strip():
        return None
    try:
        return _parse(parse_json(data))
    except (ValueError, KeyError, TypeError, OverflowError):
        return "its text names no holder"


def _parse(data: object) -> Holder | None:
    if not isinstance(data, dict):
        raise TypeError("no object")
    if data.get("released") is True:
        return None
    pid, start, inode = data["pid"], data.get("start", 0), data.get("inode", 0)
    if isinstance(pid, bool) or not isinstance(pid, int):
        raise TypeError("no process id")
    timed = isinstance(start, int | float) and math.isfinite(start) and 0 <= start < LAST_YEAR
    return Holder(
        str(data["host"]),
        pid,
        float(start) if timed else 0.0,
        token=str(data.get("token", "")),
        boot=str(data.get("boot", "")),
        space=str(data.get("space", "")),
        process_start=str(data.get("process_start", "")),
        inode=inode if isinstance(inode, int) else 0,
        shared=data.get("shared") is True,
    )


def held_by(found: Holder | str | None, path: Path) -> LockHeldError:
    """The error that says who holds it."""
    wait = "Wait for that run to end, or stop it; then run again."
    if isinstance(found, str):
        return LockHeldError(
            f"{path} cannot be understood ({found}), so it may be held.",
            "If no run writes there, remove that file; then run again.",
        )
    if found is None:
        return LockHeldError(f"{path.parent} is held by another run.", wait)
    since = f" since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(found.start))}" if found.start else ""
    if not found.process.same_machine(this_process()):
        wait = f"Wait for that run to end, or stop it; where that host is gone, remove {path}; then run again."
    return LockHeldError(f"{path.parent} is held by process {found.pid} on host {found.host}{since}.", wait)


def write_me(file: IO[bytes], path: Path, token: str = "") -> Holder:
    """Let the lock name this process; with a token, as one of several that share it.

    Raises:
        OSError: it cannot be written.
    """
    shared, token = bool(token), token or secrets.token_hex(16)
    process, start = this_process(), round(time.time(), 3)
    inode = _inode(file.fileno())
    me = Holder(
        host=process.host,
        pid=process.pid,
        start=start,
        token=token,
        boot=process.boot,
        space=process.space,
        process_start=process.started,
        inode=inode,
        path=path.absolute(),
        shared=shared,
        joined=shared,
    )
    names = [
        "host",
        "pid",
        "start",
        "token",
        "boot",
        "space",
        "process_start",
        "inode",
        *(["shared"] if shared else []),
    ]
    _write(file, {name: getattr(me, name) for name in names})
    return me


def _inode(descriptor: int) -> int:
    return os.fstat(descriptor).st_ino


def _write(file: IO[bytes], content: dict[str, object]) -> None:
    """In one write over what was there: a reader at no time sees an empty lock."""
    data = json.dumps(content).encode() + b"\n"
    try:
        file.seek(0)
        if file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        file.truncate(len(data))
        os.fsync(file.fileno())
    except OSError:
        # Half a text names nobody, and would be taken for a hold that cannot be understood.
        with contextlib.suppress(OSError):
            file.truncate(0)
        raise


def _beat(me: Holder, stop: threading.Event) -> None:
    assert me.path is not None
    while not stop.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):
            if me.still_mine():
                os.utime(me.path)


# Holding OUT: its lock, and first of all the sweep of what killed commands left in it.


@contextlib.contextmanager
def hold_out(paths: OutPaths, seconds: float = 0.0, over: str = "") -> Iterator[Holder]:
    """Hold OUT while the block runs; another holder is waited for, not longer than `seconds`.

    Args:
        over: as of `hold_lock`.

    Raises:
        LockHeldError: another run holds it.
        StorageError: the lock cannot be written.
    """
    with wait_for_lock(paths.lock, seconds, over) as holder:
        sweep_out(paths.root)
        yield holder
