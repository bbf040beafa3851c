"""What runs in a worker of a cluster: it scores slides and commits each itself, under the token of the run."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnbatch.assay.cells import Slide
from mnbatch.console import SilentProgress
from mnbatch.errors import StorageError
from mnbatch.inference.catalogue import ModelSet
from mnbatch.intake import reason
from mnbatch.pipeline.planning import Plan, Stamps
from mnbatch.pipeline.same_files import difference, other_file
from mnbatch.pipeline.workers import WorkerPool
from mnbatch.results.lock import join_run, read_holder
from mnbatch.results.manifest import versions
from mnbatch.results.paths import OutPaths
from mnbatch.results.store import Store
from mnbatch.settings import RunSettings

LOOK_SECONDS = 2.0
"""A worker asks so often whether its run still holds OUT."""

_TRIM = "MALLOC_TRIM_THRESHOLD_"
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_BLOCK = 32 << 20
"""Bytes; up to here glibc keeps freed memory by itself, once it has seen blocks of that size."""


@dataclass(frozen=True, slots=True)
class Order:
    """Slides for one worker.

    Attributes:
        token: of the run.
        slides: each with the reason why it is scored.
        threads: of this worker.
    """

    out: Path
    token: str
    settings: RunSettings
    slides: tuple[tuple[Slide, str], ...]
    threads: int


@dataclass(frozen=True, slots=True)
class Finished:
    """A slide that was committed.

    Attributes:
        record: as JSON.
        cause: traceback of an unexpected error of this slide; "" for none.
    """

    slide_id: str
    record: str
    cause: str


def describe_worker(question: Mapping[str, Any]) -> dict[str, Any]:
    """What this worker is and sees, in plain values: it may run another version.

    Args:
        question: out, export, token, model and device of the run, some files of the export with their sizes and times,
            and the name of a file in OUT/runs that this worker is to write: where the run does not find it, this OUT is
            a copy.
    """
    from mnbatch.inference.classifier import pick_device

    paths = OutPaths(Path(question["out"]))
    holder = read_holder(paths.lock)
    sees_out = holder is not None and holder.token == question["token"]
    files = question["files"]
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "versions": dict(versions()),
        "model": ModelSet.open(question["model"]).digest,
        "device": pick_device(question["device"]).type,
        "out": sees_out,
        "unwritable": _leave_mark(paths.runs / question["mark"]) if sees_out else "",
        # The folder that a share is mounted on is there without the share, and empty; a part of an export may be on a
        # share of its own. A file or two may be gone since they were seen.
        "export": os.path.isdir(question["export"]) and 2 * sum(map(os.path.exists, files)) >= len(files),
        "other": _other_export(files, question["states"]),
    }


def _other_export(files: Sequence[str], states: Sequence[tuple[int, int]]) -> str:
    """One of the files in words, where most of those that are there are not the run's; "" for its own export.

    One or two may have changed since the run saw them.
    """
    others = [(path, difference(path, *state)) for path, state in zip(files, states, strict=True)]
    different = [f"{path} {other}" for path, other in others if other]
    return different[0] if 2 * len(different) > sum(map(os.path.exists, files)) else ""


def _leave_mark(path: Path) -> str:
    """Write a small file; returns why that failed, "" where it did not."""
    try:
        with open(path, "wb") as file:
            file.write(b"A worker of the cluster was here; the run removes this file.\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return reason(error)
    return ""


_one_at_a_time = threading.Lock()
_latest: dict[str, int] = {}
"""Token of a run -> number of the newest shard that it gave to this worker."""


def score_shard(order: Order) -> list[Finished]:
    """Score and commit; returns the slides that are finished.

    Where the scheduler lost this worker and found it again, an earlier shard may still be under way: it is stopped
    first.

    Raises:
        MnbatchError: what would end a run here.
    """
    number = _latest[order.token] = _latest.get(order.token, 0) + 1
    with _one_at_a_time:
        held = _Held(OutPaths(order.out).lock, order.token, lambda: _latest[order.token] == number)
        with join_run(OutPaths(order.out).lock, order.token):
            return _score(order, held)


class _Held:
    """Says when to stop: the run no longer holds OUT, or another shard was given to this worker."""

    def __init__(self, lock: Path, token: str, newest: Callable[[], bool]) -> None:
        self._lock = lock
        self._token = token
        self._newest = newest
        self._looked = time.monotonic()
        self._lost = False

    def __call__(self) -> bool:
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = time.monotonic()
            holder = read_holder(self._lock)
            self._lost = holder is None or holder.token != self._token
        return self._lost or not self._newest()


def _score(order: Order, stop: Callable[[], bool]) -> list[Finished]:
    from mnbatch.pipeline.scoring import Tools, score_slides

    keep_freed_memory()
    settings = order.settings
    size = settings.workers or order.threads
    kit = _kit(settings, order.threads)
    store = Store(order.out)
    pending = [Plan(slide, "score", why, None) for slide, why in order.slides]
    for slide, _ in order.slides:
        if other := other_file(slide):
            raise StorageError(
                f"it sees other files under {settings.export}: {other}",
                "Mount the export of the run there, under the same path.",
            )
    finished = []
    with WorkerPool(size, settings.file_deadline, settings.file_memory) as pool:
        tools = Tools(SilentProgress(), None, stop, lambda _: None, pool, kit.classifiers)
        sized = Stamps(kit.models, settings.model_copy(update={"workers": size}))
        for job, record in score_slides(pending, store, sized, tools):
            cause = "" if job.cause is None else "".join(traceback.format_exception(job.cause))
            finished.append(Finished(record.slide_id, record.model_dump_json(), cause))
    return finished


@dataclass(frozen=True, slots=True)
class _Kit:
    """What is kept from shard to shard: models that are verified, and on the device."""

    key: object
    models: ModelSet
    classifiers: Any


_kits: list[_Kit] = []


def keep_freed_memory() -> None:
    """Undo what Dask has its workers do: give freed memory back to the system at once.

    Each minibatch needs the memory of the one before it. Fresh pages each time took a third more of the processor.
    """
    if os.environ.pop(_TRIM, None) is None or sys.platform != "linux":
        return
    import ctypes

    # Another C library than glibc has no such setting, and does not heed Dask's.
    with contextlib.suppress(AttributeError):
        adjust = ctypes.CDLL(None).mallopt
        adjust(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)
        adjust(_M_TRIM_THRESHOLD, 2 * _LARGEST_BLOCK)


def _kit(settings: RunSettings, threads: int) -> _Kit:
    """Of the latest run that this process served; one alone, since a GPU holds no more."""
    from mnbatch.pipeline.scoring import Classifiers

    models = ModelSet.open(settings.model)
    key = (models.digest, settings.device, settings.precision, settings.minibatch, threads)
    if _kits and _kits[0].key == key:
        return _kits[0]
    for old in _kits:
        old.classifiers.close()
    _kits[:] = [_Kit(key, models, Classifiers(models, settings, lambda _: None, threads))]
    return _kits[0]
