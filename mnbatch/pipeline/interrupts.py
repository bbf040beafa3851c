"""First SIGTERM or SIGINT: finish the minibatch, commit what is whole, leave. Second: stop at once."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from mnbatch.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopFlag:
    """Set by the first signal; the stages of a run look at it between two pieces of work."""

    def __init__(self) -> None:
        self.signal_number = 0

    def __call__(self) -> bool:
        """Whether a stop was asked for."""
        return self.signal_number != 0

    def check(self) -> None:
        """Raise when a stop was asked for.

        Raises:
            Interrupted: carrying the exit code 130 or 143.
        """
        if self.signal_number:
            raise Interrupted(self.signal_number)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """Catch the signals while the block runs; outside the main thread, where that is not possible, do nothing."""
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if flag.signal_number:
            raise Interrupted(number)
        flag.signal_number = number

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
