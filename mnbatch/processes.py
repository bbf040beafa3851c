"""Which process wrote something, and whether it still runs: numbers of processes are used again."""

from __future__ import annotations

import functools
import hashlib
import os
import site
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path

LARGEST_PID = 2**31 - 1
_PROC = Path("/proc")
_PARENT_LOOK_SECONDS = 2.0
_STARTED_FIELD = 19
"""Of /proc/<pid>/stat, counted after the name: clock ticks between the start of the machine and that of the process."""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process as others can find it again.

    Attributes:
        host: name of the machine (or container).
        boot: changes with each start of the kernel; "" where the system does not say.
        space: where its number counts (a container counts from 1 again); "" where the system does not say.
        pid: its number.
        started: changes when the number is used again; "" where the system does not say.
    """

    host: str
    boot: str
    space: str
    pid: int
    started: str

    def same_machine(self, other: ProcessIdentity) -> bool:
        """Whether the numbers of both count in one place; what one of them does not say is not compared."""
        known = ((self.boot, other.boot), (self.space, other.space))
        return self.host == other.host and all(mine == theirs for mine, theirs in known if mine and theirs)

    @property
    def machine(self) -> str:
        """8 hex digits over machine, start of its kernel and number space."""
        return hashlib.sha256(f"{self.host}\0{self.boot}\0{self.space}".encode()).hexdigest()[:8]


def this_process() -> ProcessIdentity:
    """The process that asks."""
    pid = os.getpid()
    return ProcessIdentity(socket.gethostname(), _boot(), _space(pid), pid, started(pid) or "")


def runs(pid: int, started_then: str) -> bool | None:
    """Whether process `pid` of this machine still runs and is the one that started then; None: not known."""
    if not 0 < pid <= LARGEST_PID:
        return False
    now = started(pid)
    if now is not None and started_then:
        return now == started_then
    return True if now is not None else _answers(pid)


def started(pid: int) -> str | None:
    """When a process of this machine started, as the system spells it; None: there is none, or the system is silent."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="ascii", errors="replace")
        # The name in brackets may hold anything, blanks and brackets too.
        return text.rpartition(")")[2].split()[_STARTED_FIELD]
    except (OSError, IndexError):
        return None


def end_with_parent() -> None:
    """Have this process end at once when the one that started it is gone, also where that was killed.

    A worker of a pool waits for its next piece for ever otherwise: its own end of the queue keeps the queue open.
    """
    from multiprocessing import parent_process  # not for every command that asks who wrote something

    parent = parent_process()
    watch = functools.partial(_wait_for, parent.sentinel) if parent else functools.partial(_wait_while, os.getppid())
    threading.Thread(target=watch, daemon=True).start()


def _wait_for(sentinel: int) -> None:
    from multiprocessing.connection import wait

    wait([sentinel])
    os._exit(0)


def _wait_while(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PARENT_LOOK_SECONDS)
    os._exit(0)


def _answers(pid: int) -> bool | None:
    if os.name == "nt":
        # There, os.kill(pid, 0) ends the process that it is asked about.
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_thread() -> dict[str, str]:
    """Environment of a process whose numeric libraries use one thread: there is one such process a core."""
    return os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def search_path() -> list[str]:
    """Where a new process finds this very program, where it is not installed."""
    root = str(Path(__file__).resolve().parents[1])
    return [] if root in site.getsitepackages() else [root]


@functools.cache
def _boot() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


@functools.cache
def _space(pid: int) -> str:
    try:
        return os.readlink(_PROC / str(pid) / "ns/pid")
    except OSError:
        return ""
