"""A command in a child of this process: what it imports is there already, and it may be killed.

The parent must have no other threads and no other children: whatever a child leaves behind becomes the parent's
(PR_SET_CHILD_SUBREAPER) and is waited for, so that a process which outlives its command is seen.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import datetime
import gc
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.campaign.faults import FaultPlan, Faults

SECONDS = 60.0
PARTING_SECONDS = 10.0
MOMENT = 1_795_000_000.0
"""The time that all commands see: what they write can be compared byte by byte."""

_PR_SET_CHILD_SUBREAPER = 36
_REAL_TIME = time.time
_UNDER_WAY: set[int] = set()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Attributes:
        code: exit code; minus the signal's number.
        stdout, stderr: what it said.
        events: kind and path of each event, where it lived to tell.
        hung: it did not end in time.
        orphans: processes of it lived on.
        peak: bytes that it and its children held at most at once, where that was measured.
    """

    code: int
    stdout: str
    stderr: str
    events: tuple[tuple[str, str], ...] = ()
    hung: bool = False
    orphans: int = 0
    peak: int = 0


def adopt_orphans() -> None:
    """What the children of this process leave behind becomes its own."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def import_everything() -> None:
    """Load all that commands load lazily, once for all children; no thread is started.

    The clock stands still before, for what keeps `time.time` as a default.
    """
    time.time = lambda: MOMENT
    import torch

    torch.set_num_threads(1)
    import importlib
    import pkgutil

    import mnbatch

    for module in pkgutil.walk_packages(mnbatch.__path__, "mnbatch."):
        if "training" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    from mnbatch.report.rendering import _environment

    for template in _environment().list_templates():
        if template.endswith(".j2"):
            _environment().get_template(template)
    assert threading.active_count() == 1
    gc.collect()
    gc.freeze()  # children share what is here already


@dataclass(frozen=True, slots=True)
class Started:
    """A command in a child, under way."""

    pid: int
    outputs: tuple[Path, ...]

    def wait_until_stopped(self) -> None:
        """Until it met a fault that stops it, or ended."""
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def end(self, measure: bool = False) -> Ended:
        """Wait for its end, and for that of all that it started."""
        status, hung, peak = _wait(self.pid, measure)
        _UNDER_WAY.discard(self.pid)
        orphans = _orphans()
        said = [path.read_text(encoding="utf-8", errors="replace") for path in self.outputs]
        events = tuple(tuple(event) for event in json.loads(said[2])) if said[2] else ()
        return Ended(os.waitstatus_to_exitcode(status), said[0], said[1], events, hung, orphans, peak)


def start_forked(
    argv: Sequence[str],
    scratch: Path,
    root: Path,
    plan: FaultPlan | None = None,
    moment: float | None = MOMENT,
    fork_workers: bool = True,
) -> Started:
    """Start `mnbatch ARGV` in a child.

    Args:
        scratch: takes what it says.
        root: folder of the events that are counted.
        moment: seconds since the epoch that it takes for now; None lets the clock run.
        fork_workers: decoding processes are forked and not started anew, which would take seconds.
    """
    outputs = tuple(scratch / name for name in ("stdout", "stderr", "events"))
    for path in outputs:
        path.write_bytes(b"")
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _child(argv, outputs, lambda: Faults(str(root), plan), moment, fork_workers)
    _UNDER_WAY.add(pid)
    return Started(pid, outputs)


def run_forked(
    argv: Sequence[str],
    scratch: Path,
    root: Path,
    plan: FaultPlan | None = None,
    *,
    moment: float | None = MOMENT,
    measure: bool = False,
    fork_workers: bool = True,
) -> Ended:
    """As `start_forked`, to the end; `measure` also the memory it took."""
    return start_forked(argv, scratch, root, plan, moment, fork_workers).end(measure)


def _child(
    argv: Sequence[str], outputs: Sequence[Path], make: Callable[[], Faults], moment: float | None, fork_workers: bool
) -> None:
    code = 1
    try:
        for descriptor, path in enumerate(outputs[:2], 1):
            opened = os.open(path, os.O_WRONLY | os.O_APPEND)
            os.dup2(opened, descriptor)
            os.close(opened)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
        time.time = _REAL_TIME
        if moment is not None:
            freeze_time(moment)
        if fork_workers:
            from mnbatch.pipeline import workers

            forked = types.SimpleNamespace(Popen=ForkedWorker, PIPE=subprocess.PIPE, DEVNULL=subprocess.DEVNULL)
            workers.subprocess = forked  # type: ignore[assignment]
        told = os.open(outputs[2], os.O_WRONLY)
        faults = make()
        faults.install()
        from mnbatch.cli import main

        sys.argv = ["mnbatch", *argv]
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1 if end.code else 0
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os.write(told, json.dumps(faults.seen).encode())
        atexit._run_exitfuncs()
    except BaseException as error:  # noqa: BLE001 - the end of a child
        os.write(2, f"campaign: {type(error).__name__}: {error}\n".encode("utf-8", "replace"))
        import traceback

        os.write(2, traceback.format_exc().encode("utf-8", "replace"))
        code = 1
    finally:
        os._exit(code)


class ForkedWorker:
    """A decoding process of its own, forked instead of started anew: it has imported everything already.

    Stands for `subprocess.Popen` in `mnbatch.pipeline.workers`; the worker runs the same program over the same pipes.
    """

    def __init__(self, command: Sequence[str], **_: object) -> None:
        from mnbatch.pipeline import worker_process

        requests, answers = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                os.dup2(requests[0], 0)
                os.dup2(answers[1], 1)
                os.closerange(3, 1024)
                worker_process.main(int(command[4]), looking=command[5] == "looking")
            finally:
                os._exit(0)
        os.close(requests[0])
        os.close(answers[1])
        self.stdin = io.BufferedWriter(io.FileIO(requests[1], "w"))
        self.stdout = io.BufferedReader(io.FileIO(answers[0], "r"))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, where it ended."""
        if self.returncode is None:
            with contextlib.suppress(ChildProcessError):
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self) -> int:
        """Until it ended."""
        while self.poll() is None:
            time.sleep(0.001)
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        """SIGKILL."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def freeze_time(moment: float) -> None:
    """One moment for all that is written; what measures durations goes on."""

    class Frozen(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]
            return datetime.datetime.fromtimestamp(moment, tz)

    time.time = lambda: moment
    for name, module in list(sys.modules.items()):
        if name.startswith("mnbatch") and getattr(module, "datetime", None) is datetime.datetime:
            module.datetime = Frozen  # type: ignore[attr-defined]


def _wait(pid: int, measure: bool) -> tuple[int, bool, int]:
    end, peak = time.monotonic() + SECONDS, 0
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status, False, peak
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            return os.waitpid(pid, 0)[1], True, peak
        if measure:
            peak = max(peak, _held(pid))
        time.sleep(0.02 if measure else 0.003)


def _held(pid: int) -> int:
    """Bytes of a process and its children, without what they share with others."""
    import psutil  # type: ignore[import-untyped]

    held = 0
    with contextlib.suppress(psutil.Error):
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            memory = process.memory_info()
            held += memory.rss - memory.shared
    return held


def _orphans() -> int:
    """Wait for what the command left; how many had to be ended. Other commands that were started go on."""
    end = time.monotonic() + PARTING_SECONDS
    while left := _children() - _UNDER_WAY:
        for pid in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        if time.monotonic() > end:
            break
        time.sleep(0.003)
    for pid in left:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return len(left)


def _children() -> set[int]:
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}
