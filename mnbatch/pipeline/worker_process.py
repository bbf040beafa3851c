"""The process in which files are decoded: it can be ended, whatever a file does to a decoder.

It reads requests from its standard input and writes answers to its standard output, one after the other
(`worker_messages`). Neither side believes the other more than itself: what is untrusted are the files, not the two
processes.
"""

from __future__ import annotations

import os
import pickle
import signal
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from mnbatch.pipeline.shared_slots import WorkerSlots
from mnbatch.pipeline.worker_messages import LOOKS, Answer, Known, Request, receive, send
from mnbatch.processes import end_with_parent

LOOKING = ("mnbatch.imaging.inputs", "mnbatch.imaging.slide_look")
READING = (*LOOKING, "mnbatch.pipeline.opened_slides", "scipy.ndimage")
"""What is loaded before the first request: not while it waits, and not of the memory that it may take."""

ALARM_GRACE = 30.0
"""Seconds after a deadline at which the kernel ends a worker whose parent did not, because it is gone."""


def main(memory_bytes: int, *, looking: bool = False, shared: int = -1) -> None:
    """Answer requests until the parent ends.

    Args:
        memory_bytes: that may be allocated beyond what the loaded program needs.
        looking: only requests of `LOOKS` will come.
        shared: number of the open file that is shared memory (`shared_slots`); -1 where there is none.
    """
    requests, answers = _own_streams()
    _let_the_parent_decide()
    for name in LOOKING if looking else READING:
        import_module(name)
    slots = WorkerSlots(shared) if shared >= 0 else None
    _limit_memory(memory_bytes)
    end_with_parent()
    known: Known[Any] = Known()
    send(answers, "ready")
    while True:
        try:
            request = receive(requests)
        except EOFError:
            return
        _set_alarm(request.seconds + ALARM_GRACE)
        answer = _answer(request, known)
        _set_alarm(0)
        send(answers, answer, slots, request.slot)


def _answer(request: Request, known: Known[Any]) -> Answer:
    try:
        return Answer(done(request, known))
    except MemoryError:
        return Answer(memory=True)
    except Exception as error:  # noqa: BLE001 - it is raised again in the parent, where it belongs to its slide
        error.add_note("".join(traceback.format_exception(error)))
        return Answer(error=_sendable(error))


def done(request: Request, known: Known[Any]) -> Any:
    """Do a piece of work.

    Args:
        known: slides that this worker has open.

    Raises:
        Exception: whatever the work raises.
    """
    if request.operation not in LOOKS:
        from mnbatch.pipeline.opened_slides import work_on

        return work_on(request, known)
    from mnbatch.imaging.inputs import vote_on
    from mnbatch.imaging.slide_look import contact_strip, look_at_slide

    looks: dict[str, Callable[..., Any]] = {"vote": vote_on, "show": look_at_slide, "strip": contact_strip}
    return looks[request.operation](*request.arguments)


def _sendable(error: Exception) -> BaseException:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - an error of a library that cannot travel goes as its text
        plain = RuntimeError(f"{type(error).__name__}: {error}")
        plain.add_note("".join(getattr(error, "__notes__", ())))
        return plain
    return error


def _own_streams() -> tuple[IO[bytes], IO[bytes]]:
    """The two pipes, moved out of the way of libraries that print."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):
        os.dup2(nothing, number)
    return requests, answers


def _let_the_parent_decide() -> None:
    """Signals of the terminal or of a batch system reach the whole group; only the parent acts on them."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _limit_memory(allowed: int) -> None:
    """Allocations beyond this fail (MemoryError); where the platform has no such limit, nothing is done."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (ImportError, OSError):
        return
    limit = pages * resource.getpagesize() + allowed
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _set_alarm(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)
