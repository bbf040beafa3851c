"""Holding OUT: its lock, and first of all the sweep of what killed commands left in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from mnbatch.results.files import sweep_out
from mnbatch.results.lock import Holder, wait_for_lock
from mnbatch.results.paths import OutPaths


@contextlib.contextmanager
def hold_out(paths: OutPaths, seconds: float = 0.0) -> Iterator[Holder]:
    """Hold OUT while the block runs; another holder is waited for, not longer than `seconds`.

    Raises:
        LockHeldError: another run holds it.
        StorageError: the lock cannot be written.
    """
    with wait_for_lock(paths.lock, seconds) as holder:
        sweep_out(paths.root)
        yield holder
