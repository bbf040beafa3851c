"""Faults of a disk, and sudden death, at the n-th event that changes files below one folder.

The shim lies where Python meets the operating system: files that are opened for writing get a raw file of ours below
their buffer, and the calls of `os` that change a file system are wrapped. An event is one such call: open for writing,
write, fsync, truncate, rename, mkdir, rmdir, unlink. `tests/campaign/test_faults.py` holds the count against strace.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

What = Literal["kill", "torn", "ENOSPC", "EIO", "short", "stop"]
GROWING = frozenset({"open", "write", "fsync", "mkdir", "truncate"})
"""Events that a full disk can refuse; renames and removals go on."""


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """What happens at which event.

    Attributes:
        at: number of the event, counted from 0.
        what: kill (before the event), torn (half of a write, then kill), ENOSPC (this and all that need room from
            then on), EIO (this one), short (half of a write, then the disk is full), stop (SIGSTOP before the event).
    """

    at: int
    what: What


class Faults:
    """Counts events below `root` in this process, and does what the plan says.

    Args:
        root: events elsewhere are no events.
        plan: None counts only.

    Attributes:
        seen: kind and path (relative to root) of each event.
    """

    def __init__(self, root: str, plan: FaultPlan | None = None) -> None:
        self._root = os.path.realpath(root)
        self._plan = plan
        self._lock = threading.RLock()
        self.seen: list[tuple[str, str]] = []

    def event(self, kind: str, path: Any, half: Callable[[], int] | None = None) -> int | None:
        """Note an event; None lets it happen, a number is what a short write has written."""
        name = _absolute(path)
        if name != self._root and not name.startswith(self._root + os.sep):
            return None
        with self._lock:
            number = len(self.seen)
            self.seen.append((kind, name[len(self._root) + 1 :]))
            return self._act(number, kind, name, half)

    def _act(self, number: int, kind: str, name: str, half: Callable[[], int] | None) -> int | None:
        plan = self._plan
        if plan is None or number < plan.at:
            return None
        now = number == plan.at
        if plan.what in ("kill", "torn") and now:
            if plan.what == "torn" and half is not None:
                half()
            os.kill(os.getpid(), signal.SIGKILL)
        if plan.what == "stop" and now:
            os.kill(os.getpid(), signal.SIGSTOP)
        if plan.what == "EIO" and now:
            raise OSError(errno.EIO, os.strerror(errno.EIO), name)
        if plan.what == "short" and now and half is not None:
            return half()
        if plan.what in ("ENOSPC", "short") and kind in GROWING:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
        return None

    def install(self) -> None:
        """Put the shim in place for the rest of this process."""
        _wrap_files(self)
        for kind, names in _CALLS.items():
            for name in names:
                setattr(os, name, _wrapped(self, kind, getattr(os, name)))
        os.open = _wrapped_open(self, os.open)  # type: ignore[assignment]


_CALLS = {
    "rename": ("rename", "replace", "link", "symlink"),
    "mkdir": ("mkdir",),
    "rmdir": ("rmdir",),
    "unlink": ("unlink", "remove"),
    "fsync": ("fsync", "fdatasync"),
    "truncate": ("truncate", "ftruncate"),
    "write": ("write", "pwrite", "sendfile", "copy_file_range"),
}


def _absolute(path: Any, folder: int | None = None) -> str:
    """The path that a name or a descriptor means."""
    if isinstance(path, int):
        try:
            return os.readlink(f"/proc/self/fd/{path}")
        except OSError:
            return ""
    name = os.fsdecode(path)
    if folder is not None and not os.path.isabs(name):
        name = os.path.join(_absolute(folder), name)
    return os.path.join(os.path.realpath(os.path.dirname(name) or "."), os.path.basename(name))


def _wrapped(faults: Faults, kind: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **named: Any) -> Any:
        target = args[1] if kind == "rename" else args[1] if real.__name__ == "copy_file_range" else args[0]
        folder = named.get("dst_dir_fd" if kind == "rename" else "dir_fd")
        half = None
        if real.__name__ == "write":
            half = lambda: real(args[0], bytes(args[1])[: max(1, len(args[1]) // 2)])  # noqa: E731
        done = faults.event(kind, _absolute(target, folder), half)
        return real(*args, **named) if done is None else done

    return call


def _wrapped_open(faults: Faults, real: Callable[..., int]) -> Callable[..., int]:
    def call(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            faults.event("open", _absolute(path, dir_fd))
        return real(path, flags, mode, dir_fd=dir_fd)

    return call


def _wrap_files(faults: Faults) -> None:
    real = io.open

    class Raw(io.FileIO):
        def write(self, data: Any) -> int | None:  # type: ignore[override]
            view = memoryview(data).cast("B")
            half = lambda: io.FileIO.write(self, view[: max(1, len(view) // 2)])  # noqa: E731
            done = faults.event("write", self.fileno(), half)
            return io.FileIO.write(self, view) if done is None else done

        def truncate(self, size: int | None = None) -> int:
            faults.event("truncate", self.fileno())
            return io.FileIO.truncate(self, size)

    def opened(
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        if not set(mode) & set("wax+"):
            return real(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if not isinstance(file, int) and opener is None:
            faults.event("open", _absolute(file))
        raw = Raw(file, mode.replace("b", "").replace("t", ""), closefd, opener)
        if buffering == 0:
            return raw
        size = buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
        buffer = io.BufferedRandom(raw, size) if "+" in mode else io.BufferedWriter(raw, size)
        if "b" in mode:
            return buffer
        text = io.TextIOWrapper(buffer, encoding, errors, newline, line_buffering=buffering == 1)
        text.mode = mode  # type: ignore[misc]
        return text

    io.open = builtins.open = opened  # type: ignore[assignment]
