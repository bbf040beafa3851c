"""How training ends when somebody, or the system, asks it to: in order, and with a word on what is kept."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator
from types import FrameType

from mnbatch.errors import Interrupted


@contextlib.contextmanager
def ended_by_signals(kept: Callable[[], str]) -> Iterator[None]:
    """Leave the block in order at the first SIGINT or SIGTERM.

    A second signal ends the process in a moment, whatever is stuck.

    Args:
        kept: says at the end what is kept, as the second half of a sentence.

    Raises:
        Interrupted: a signal came.
    """
    from mnbatch.pipeline.interrupts import handling_signals, leave_soon

    stopped: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if stopped:
            leave_soon(number)
            return
        stopped.append(number)
        for drawing in multiprocessing.active_children():
            drawing.terminate()  # else the end waits until they have drawn their cells
        raise KeyboardInterrupt  # no library takes it for an error of its own

    with handling_signals(handle):
        try:
            yield
        except BaseException as error:
            if not stopped:
                raise
            stop = Interrupted(stopped[0])
            stop.message = f"Interrupted; {kept()}."
            raise stop from error
