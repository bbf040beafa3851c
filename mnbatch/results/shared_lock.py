"""Several processes hold OUT together: all that were given the same token."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

from mnbatch.errors import UsageError
from mnbatch.files import share_time
from mnbatch.processes import this_process
from mnbatch.results.lock import (
    HEARTBEAT_SECONDS,
    PAUSE_SECONDS,
    STALE_SECONDS,
    Holder,
    held_by,
    holding,
    join_run,
    look_at,
    open_lock,
    read_holder,
    release,
    take_lock,
    try_kernel_lock,
    write_me,
)
from mnbatch.results.out_files import storage_errors
from mnbatch.results.paths import OutPaths

# A batch system starts processes where and when it likes, and none of them lives as long as the run. So the first one
# of a token takes the lock as a run does, in the token's name, and shares it: in the kernel where processes are of one
# machine, and by a file of its own in OUT/runs, with a heartbeat, where they are not. The last one that ends frees it.
# Between two of them OUT is free, and another run may take it: what they commit is whole slides, so nothing is lost.


OPENING_SECONDS = 1.0
"""The first process of a token needs a moment between the kernel's lock and the text; the others wait for it."""

PRESENCE = ".sharing-"
_TOKEN = re.compile(r"[A-Za-z0-9._-]{1,64}")


def check_token(token: str) -> None:
    """Refuse what is no token; raises UsageError."""
    if not _TOKEN.fullmatch(token):
        raise UsageError(
            f"--run cannot be {token[:80]!r}.", "Give up to 64 letters, digits, dots, hyphens and underscores."
        )


@contextlib.contextmanager
def share_out(paths: OutPaths, token: str) -> Iterator[Holder]:
    """Write to OUT under a token, beside every other process of that token, and beside the run that has it.

    Raises:
        UsageError: the token cannot be one.
        LockHeldError: another run holds OUT, or processes of another token do.
        StorageError: the lock cannot be written.
    """
    check_token(token)
    with storage_errors(paths.root):
        paths.runs.mkdir(parents=True, exist_ok=True)
        file = open_lock(paths.lock)
    with file:
        me = _enter(file, paths.lock.absolute(), token)
        if me is None:
            with join_run(paths.lock, token):
                found = read_holder(paths.lock)
                assert found is not None
                yield found
            return
        with holding(me), _present(paths, token) as alone:
            try:
                yield me
            finally:
                # Nobody else on another machine, and on this one.
                if alone() and try_kernel_lock(file) is not False:
                    release(file, me)


def _enter(file: IO[bytes], path: Path, token: str) -> Holder | None:
    """Share the lock; None where the run that holds it has this token."""
    end = time.monotonic() + OPENING_SECONDS
    while True:
        found = look_at(path)
        if isinstance(found, Holder) and found.token == token:
            if not found.shared:
                return None
            if try_kernel_lock(file, shared=True) is not False:
                return replace(found, path=path, joined=True)
        elif try_kernel_lock(file) is not False:
            take_lock(file, path)
            with storage_errors(path):
                me = write_me(file, path, token)
            if try_kernel_lock(file, shared=True) is not False:
                return me
        if time.monotonic() > end:
            raise held_by(look_at(path), path)
        time.sleep(PAUSE_SECONDS)


@contextlib.contextmanager
def _present(paths: OutPaths, token: str) -> Iterator[_Alone]:
    """A file that says that this process shares OUT, with a heartbeat; gives what tells whether it is alone."""
    me = this_process()
    own = paths.runs / f"{PRESENCE}{token}-{me.machine}-{me.pid}-{secrets.token_hex(4)}"
    with storage_errors(own):
        own.touch()
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(own)

    beats = threading.Thread(target=beat, name="mnbatch-presence", daemon=True)
    beats.start()
    try:
        yield _Alone(own, token)
    finally:
        stop.set()
        beats.join()
        with contextlib.suppress(OSError):
            own.unlink()


class _Alone:
    """Asks whether no other process shares OUT under a token."""

    def __init__(self, own: Path, token: str) -> None:
        self._own = own
        self._prefix = f"{PRESENCE}{token}-"

    def __call__(self) -> bool:
        with contextlib.suppress(OSError):
            now = share_time(self._own.parent)
            for entry in list(os.scandir(self._own.parent)):
                if not entry.name.startswith(self._prefix) or entry.name == self._own.name:
                    continue
                if now - entry.stat().st_mtime < STALE_SECONDS:
                    return False
                # Of a process that was killed: its lock is long stale.
                os.unlink(entry.path)
        return True
