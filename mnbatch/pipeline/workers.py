"""Decoding is untrusted work: it runs in processes with a deadline and a limit of memory, which can be ended.

A worker that hangs, crashes or needs too much memory costs the piece of work it was at, and is replaced. Workers that
are free are kept for the next run of the same process.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import IO, Any, Self

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

from mnbatch.assay.cells import Slide
from mnbatch.assay.page_options import PageOptions
from mnbatch.assay.reasons import Reason, say
from mnbatch.errors import SlideError, StorageError
from mnbatch.imaging.inputs import Vote
from mnbatch.imaging.slide_look import SlideLook
from mnbatch.inference.prefetch import SIGNAL_SECONDS
from mnbatch.pipeline.shared_slots import open_slots
from mnbatch.pipeline.worker_messages import Answer, Known, Opening, Request, receive, send
from mnbatch.processes import one_thread, search_path

GIB = 1 << 30
LOOK_SECONDS = 0.1
PIPE_BYTES = 1 << 20
START_SECONDS = 300.0
"""A worker that cannot even start in this time will not."""

_START = (
    "import sys; sys.path[:0] = sys.argv[4:]; from mnbatch.pipeline.worker_process import main; "
    "main(int(sys.argv[1]), looking=sys.argv[2] == 'looking', shared=int(sys.argv[3]))"
)
_numbers = itertools.count()


class WorkLostError(Exception):
    """A piece of work that ended with its worker.

    Attributes:
        reason: for a table.
        crashed: another worker may fare better.
    """

    def __init__(self, reason: Reason, *, crashed: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.crashed = crashed


class HurriedError(Exception):
    """The run stops, and this piece of work was given up for it: nothing is known of its file."""


class _Worker:
    """One process, asked by one thread at a time."""

    def __init__(self, memory_bytes: int, looking: bool) -> None:
        self.memory_bytes = memory_bytes
        self.looking = looking
        self.owner = _user()
        self.killed_for = ""
        self._due = float("inf")
        self._lock = threading.Lock()
        self._known: Known[None] = Known()
        self._ready = False
        work = "looking" if looking else "reading"
        self._slots = None if looking else open_slots()
        shared = () if self._slots is None else (self._slots.number,)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, str(memory_bytes), work, str(*shared or (-1,)), *search_path()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=one_thread(),
                start_new_session=True,
                pass_fds=shared,
            )
        except OSError as error:
            raise _cannot_start(error.strerror or str(error)) from error
        finally:
            if self._slots is not None:
                self._slots.close_number()
        _widen(self._process.stdin, self._process.stdout)

    @property
    def usable(self) -> bool:
        """Whether it is ours (not a parent process's, before a fork) and lives."""
        return self.owner == _user() and not self.killed_for and self._process.poll() is None

    def call(
        self, operation: str, key: str, opening: Opening | None, arguments: tuple[Any, ...], seconds: float
    ) -> Answer:
        """Ask and wait.

        Raises:
            EOFError: the worker ended.
            StorageError: it could not even start.
        """
        if not self._ready:
            try:
                self._exchange(None, START_SECONDS)
            except EOFError:
                if self.killed_for:
                    raise
                raise _cannot_start(f"the process ended ({_ended(self._process.wait())})") from None
            self._ready = True
        new = opening is not None and key not in self._known
        if opening is not None:
            self._known.use(key, None)
        # Only crops: what a field sends may be kept as long as its slide lasts.
        slot = self._slots.free() if self._slots is not None and operation == "read_together" else None
        request = Request(operation, key, opening if new else None, arguments, seconds, slot)
        answer = self._exchange(request, seconds)
        assert isinstance(answer, Answer)
        return answer

    def _exchange(self, request: Request | None, seconds: float) -> Any:
        """Send a request (None: only wait for the first sign of life) and wait for the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._due = time.monotonic() + seconds
        try:
            if request is not None:
                send(self._process.stdin, request)
            return receive(self._process.stdout, self._slots, None if request is None else request.slot)
        except OSError as error:
            raise EOFError from error
        finally:
            with self._lock:
                self._due = float("inf")

    def kill_overdue(self, now: float, latest: float) -> None:
        """End it where its piece of work has had its time."""
        with self._lock:
            if self._due == float("inf") or now <= min(self._due, latest):
                return
            self.killed_for = self.killed_for or ("hurry" if now > latest else "deadline")
            self._process.kill()

    def end(self) -> int:
        """Put it away; its exit code."""
        self._process.kill()
        code = self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        return code


class WorkerPool:
    """Worker processes, as many as are asked for at once.

    Args:
        size: processes.
        deadline: seconds that a piece of work may take.
        memory: GiB that a worker may allocate.
        looking: only `vote`, `look` and `strip` are asked for: such workers start faster.
    """

    def __init__(self, size: int, deadline: float, memory: float, *, looking: bool = False) -> None:
        self.deadline = deadline
        self.memory = memory
        self.looking = looking
        self._free = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()
        self._busy: set[_Worker] = set()
        self._latest = float("inf")
        self._closed = threading.Event()
        self._watch = threading.Thread(target=self._end_overdue, name="mnbatch-deadline", daemon=True)
        self._watch.start()

    def ask(self, operation: str, *arguments: Any, key: str = "", opening: Opening | None = None) -> Any:
        """Have a piece of work done.

        Args:
            key, opening: the slide that it is about.

        Raises:
            WorkLostError: the worker hung, crashed or needed too much memory.
            HurriedError: the run stops.
            StorageError: no worker can be started.
            Exception: what the work itself raised.
        """
        with self._one_free():
            if self._closed.is_set():
                raise HurriedError
            worker = self._borrow()
            try:
                answer = worker.call(operation, key, opening, arguments, self.deadline)
            except EOFError:
                raise self._lost(worker, worker.end()) from None
            except BaseException:
                worker.end()
                raise
            finally:
                with self._lock:
                    self._busy.discard(worker)
            if answer.memory:
                worker.end()
                raise WorkLostError(say("lost-memory", gib=self.memory))
            _spare.give(worker)
        if answer.error is not None:
            raise answer.error
        return answer.value

    @contextlib.contextmanager
    def _one_free(self) -> Iterator[None]:
        """Wait for a worker's turn, a while at a time: Python handles signals between two steps of the main thread, so
        one that comes just before a wait without end would be handled after it, and could not end what is stuck."""
        while not self._free.acquire(timeout=SIGNAL_SECONDS):
            pass
        try:
            yield
        finally:
            self._free.release()

    def vote(self, path: str) -> Vote | None:
        """What an image file looks like (see `mnbatch.imaging.inputs`); None where it cannot be read."""
        try:
            seen: Vote | None = self.ask("vote", path)
        except WorkLostError:
            return None
        return seen

    def look(self, slide: Slide, options: PageOptions) -> tuple[SlideLook, str]:
        """What a few files of a slide show, and what a person has to say of them; "" for nothing."""
        found: SlideLook
        try:
            found = self.ask("show", slide, options)
        except SlideError as error:
            return SlideLook(), f"{error} {error.next_step}"
        except WorkLostError as lost:
            return SlideLook(), str(lost.reason)
        return found, ""

    def strip(self, slide: Slide, options: PageOptions) -> bytes:
        """A strip of pictures of a slide as PNG; b"" where none can be read."""
        try:
            return bytes(self.ask("strip", slide, options))
        except (SlideError, WorkLostError):
            return b""

    def hurry(self, seconds: float) -> None:
        """The run stops: whatever is not done in so many seconds is given up."""
        self._latest = time.monotonic() + seconds

    def close(self) -> None:
        """End what still works; free workers are kept for another pool."""
        self._closed.set()
        with self._lock:
            busy = list(self._busy)
        for worker in busy:
            worker.kill_overdue(float("inf"), 0.0)
        self._watch.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _borrow(self) -> _Worker:
        bytes_allowed = int(self.memory * GIB)
        worker = _spare.take(bytes_allowed, self.looking) or _Worker(bytes_allowed, self.looking)
        with self._lock:
            self._busy.add(worker)
        return worker

    def _lost(self, worker: _Worker, code: int) -> Exception:
        if worker.killed_for == "hurry":
            return HurriedError()
        if worker.killed_for == "deadline":
            return WorkLostError(say("lost-deadline", seconds=self.deadline))
        if code == -getattr(signal, "SIGKILL", 9):
            return WorkLostError(say("lost-killed"), crashed=True)
        return WorkLostError(say("lost-crash", how=_ended(code)), crashed=True)

    def _end_overdue(self) -> None:
        while not self._closed.wait(LOOK_SECONDS):
            now = time.monotonic()
            with self._lock:
                busy = list(self._busy)
            for worker in busy:
                worker.kill_overdue(now, self._latest)


class _Spare:
    """Free workers of this process."""

    MOST = 16

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers: list[_Worker] = []

    def take(self, memory_bytes: int, looking: bool) -> _Worker | None:
        """A free worker with that limit; None where there is none. Those of a parent process are left alone."""
        with self._lock:
            self._workers = [worker for worker in self._workers if worker.usable]
            for worker in self._workers:
                if worker.memory_bytes == memory_bytes and looking >= worker.looking:
                    self._workers.remove(worker)
                    return worker
        return None

    def give(self, worker: _Worker) -> None:
        """Keep a worker."""
        with self._lock:
            if len(self._workers) < self.MOST:
                self._workers.append(worker)
                return
        worker.end()

    def end(self) -> None:
        """End all of this process."""
        with self._lock:
            mine = [worker for worker in self._workers if worker.owner == _user()]
            self._workers = []
        for worker in mine:
            worker.end()


_spare = _Spare()
atexit.register(_spare.end)


def opening_key() -> str:
    """A key that no other opening of this process has."""
    return f"{os.getpid()}-{next(_numbers)}"


def kill_workers() -> None:
    """End the free workers of this process at once (before it ends without `atexit`)."""
    _spare.end()


def _widen(*pipes: IO[bytes] | None) -> None:
    """Let a message of several crops pass at once: with 64 KB both sides wake up for each piece. Linux alone can."""
    for pipe in pipes:
        if pipe is not None and hasattr(fcntl, "F_SETPIPE_SZ"):
            with contextlib.suppress(OSError):
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _ended(code: int) -> str:
    if code >= 0:
        return f"code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


def _cannot_start(why: str) -> StorageError:
    return StorageError(
        f"The processes that read images cannot be started: {why}.",
        "Check the limits of this job (ulimit -u, -v, memory of the container), or use fewer --workers.",
    )


def _user() -> tuple[int, int]:
    """This process and whose rights it has: workers of another (a parent, before a fork) are not ours to ask."""
    return os.getpid(), os.geteuid() if hasattr(os, "geteuid") else 0
