"""First SIGTERM or SIGINT: finish the minibatch, commit what is whole, leave. Second: stop at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from mnbatch.errors import Interrupted

LAST_SECONDS = 1.0
"""After a second signal this long is left for an orderly end."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopFlag:
    """Set by the first signal; the stages of a run check it between two pieces of work."""

    def __init__(self) -> None:
        self.signal_number = 0
        self._when_set: list[Callable[[], None]] = []

    def __call__(self) -> bool:
        """Whether a stop was asked for."""
        return self.signal_number != 0

    def when_set(self, action: Callable[[], None]) -> None:
        """Do this, in a moment, when a stop is asked for (now, where it was)."""
        self._when_set.append(action)
        if self.signal_number:
            action()

    def set(self, number: int) -> None:
        """A stop is asked for."""
        self.signal_number = number
        for action in self._when_set:
            action()

    def check(self) -> None:
        """Raise when a stop was asked for.

        Raises:
            Interrupted: carrying the exit code 130 or 143.
        """
        if self.signal_number:
            raise Interrupted(self.signal_number)


@contextlib.contextmanager
def handling_signals(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Catch the signals while the block runs; outside the main thread, where that is not possible, do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """A flag that the signals set while the block runs."""
    flag = StopFlag()

    def handle(number: int, frame: FrameType | None) -> None:
        if flag.signal_number:
            # Whatever is stuck (a disk, a device, a library): the process is gone in time. All that is true is on disk.
            leave_soon(number)
            raise Interrupted(number)
        flag.set(number)

    with handling_signals(handle):
        yield flag


def leave_soon(number: int) -> None:
    """End the process in `LAST_SECONDS`, with the exit code of a signal, if it has not ended by itself."""

    def leave() -> None:
        from mnbatch.pipeline.workers import kill_workers

        kill_workers()
        os._exit(128 + number)

    timer = threading.Timer(LAST_SECONDS, leave)
    timer.daemon = True
    timer.start()
