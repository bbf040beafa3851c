"""Slides scored by the workers of a Dask cluster: this process holds OUT, gives slides out, gathers their records."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnbatch.assay.reasons import Foreign, Named, say
from mnbatch.console import RunProgress
from mnbatch.errors import (
    ClusterError,
    LockHeldError,
    MismatchError,
    MnbatchError,
    ModelError,
    SlideError,
    StorageError,
    UsageError,
)
from mnbatch.files import storage_errors
from mnbatch.intake import short
from mnbatch.pipeline.cluster_opening import open_cluster, submissions_of
from mnbatch.pipeline.cluster_worker import Finished, Order, describe_worker, score_shard
from mnbatch.pipeline.committing import failed_record
from mnbatch.pipeline.plan_file import different_versions, settings_elsewhere
from mnbatch.pipeline.planning import Plan, Stamps
from mnbatch.pipeline.reading import SlideJob
from mnbatch.pipeline.same_files import other_file
from mnbatch.pipeline.sharding import MOST_DEATHS, Shard, Shards
from mnbatch.results.commit import is_damaged
from mnbatch.results.lock import check_still_held, run_of
from mnbatch.results.manifest import versions
from mnbatch.results.records import SlideRecord
from mnbatch.results.store import Store

if TYPE_CHECKING:
    from distributed import Client, Future

LOOK_SECONDS = 0.5
"""Between two looks at the workers, where nothing comes back."""

ANSWER_SECONDS = 120.0
"""For a connected worker to say what it is: it imports torch first, from a slow share perhaps."""

RESULT_SECONDS = 300.0
"""For an answer that is ready, on its way from a worker; a few kilobytes."""

LOST_SECONDS = 60.0
"""A scheduler that does not answer for so long is gone."""

MARK_SECONDS = 15.0
"""For the file that a worker writes into OUT to be seen here: a share may show new files late."""

RECORD_SECONDS = 75.0
"""For a record to be seen here that a worker has written. This process looked for it before it was there, and an NFS
client believes for up to a minute what it saw of a folder."""

_MARK = ".worker-"
"""How the name of a worker's file in OUT/runs begins."""

FILES_ASKED = 8
"""Files of the export that a new worker is asked for: it sees half of them, or not the export."""

ROOM_BYTES = 1 << 20
"""A disk with less room than this is full."""

_DEVICE_LOST = re.compile(r"CUDA (driver )?error|cuDNN error|CUBLAS_STATUS|device-side assert|AcceleratorError")
"""In what torch says of a GPU that answers nothing any more, until its process is started again."""


@dataclass(frozen=True, slots=True)
class ClusterTools:
    """What a run lends to its cluster.

    Attributes:
        stop: asked between two looks.
        on_workers: told, by their addresses, which workers take part when that changes.
        timeout: seconds without any worker after which the run ends.
        log: writes an event and what is known of it into the run's log.
    """

    progress: RunProgress
    stop: Callable[[], bool]
    on_workers: Callable[[list[dict[str, Any]]], None]
    timeout: float
    log: Callable[..., None] = lambda event, **known: None


def score_on_cluster(
    pending: list[Plan], store: Store, stamps: Stamps, tools: ClusterTools
) -> Iterator[tuple[SlideJob, SlideRecord]]:
    """Score slides on the workers of `settings.cluster`; yields each finished slide with its record.

    A worker that dies costs what it had not committed: those slides go out again, each alone. A slide at which
    `MOST_DEATHS` workers died fails, as one that a later run tries again; so does one that so many times was finished
    without a record that this process sees.

    Raises:
        ClusterError: no worker came within the timeout, no job was accepted, or the scheduler is gone.
        MismatchError: all workers that came run something else.
        LockHeldError: another run took OUT over.
    """
    known = all(plan.slide.kind == "crops" for plan in pending)
    tools.progress.start(len(pending), sum(len(plan.slide.files) for plan in pending) if known else None)
    said = stamps.settings.cluster
    assert said is not None
    with open_cluster(said) as client:
        yield from _Coordinator(client, pending, store, stamps, tools).go()


@dataclass(slots=True)
class _Worker:
    """A worker as the coordinator knows it.

    Attributes:
        asked: its answer to what it is, under way; None once it may be used.
        mark: the file that it was asked to write into OUT.
        answer: to what it is, while its mark is not seen yet; since: when the answer came.
        device: of it, once it may be used.
        shard, future: what it is at.
    """

    address: str
    threads: int
    asked: Future[Any] | None
    mark: Path
    answer: dict[str, Any] | None = None
    since: float = 0.0
    device: str = ""
    host: str = ""
    shard: Shard | None = None
    future: Future[Any] | None = None

    @property
    def idle(self) -> bool:
        return self.asked is None and self.shard is None

    @property
    def awaited(self) -> Future[Any] | None:
        """What it will send back."""
        return self.future or (self.asked if self.answer is None else None)

    @property
    def name(self) -> str:
        """For messages."""
        return f"worker {self.address} ({self.host})" if self.host else f"worker {self.address}"


@dataclass(frozen=True, slots=True)
class _Unseen:
    """A shard that its worker has finished, and of which not all records are seen yet.

    Attributes:
        worker: its name.
        causes: slide_id -> traceback of what went wrong.
        since: when it came back.
    """

    shard: Shard
    worker: str
    causes: dict[str, str]
    since: float


@dataclass(slots=True)
class _Coordinator:
    client: Client
    pending: list[Plan]
    store: Store
    stamps: Stamps
    tools: ClusterTools
    shards: Shards = field(init=False)
    token: str = field(init=False)
    digest: str = field(init=False)
    workers: dict[str, _Worker] = field(default_factory=dict)
    refused: dict[str, MnbatchError] = field(default_factory=dict)
    noted: set[str] = field(default_factory=set)
    unseen: list[_Unseen] = field(default_factory=list)
    told_of_jobs: bool = False
    device: str = ""
    since: float = field(default_factory=time.monotonic)
    answered: float = field(default_factory=time.monotonic)

    def go(self) -> Iterator[tuple[SlideJob, SlideRecord]]:
        self.token = run_of(self.store.paths.lock)
        self.digest = self.stamps.models.digest
        # Nobody else holds OUT now; at the end another run may.
        self._remove_marks(_MARK)
        try:
            yield from self._go()
        finally:
            self._remove_marks(self._mark)

    def _go(self) -> Iterator[tuple[SlideJob, SlideRecord]]:
        self._wait_for_the_first()
        self.shards = Shards(self.pending, max(len(self.workers), 1))
        while self.shards.left and not self.tools.stop():
            check_still_held(self.store.paths.lock)
            yield from self._bury(self._look())
            yield from self._look_for_records()
            self._refuse_to_wait_for_ever()
            for worker in self.workers.values():
                if worker.idle and self.shards.waiting:
                    self._send(worker)
            yield from self._gather()
        if not self.tools.stop():
            yield from self._read_again()

    # Workers: who is there, and who may take part.

    def _wait_for_the_first(self) -> None:
        while not any(worker.asked is None for worker in self.workers.values()) and not self.tools.stop():
            self._look()
            self._refuse_to_wait_for_ever()
            self._pause([worker.awaited for worker in self.workers.values()])

    def _look(self) -> list[_Worker]:
        """See which workers are connected, and ask new ones what they are; returns those that are gone."""
        there = self._connected()
        if there is None:
            return []
        gone = [worker for address, worker in self.workers.items() if address not in there]
        for worker in gone:
            del self.workers[worker.address]
        for address, known in there.items():
            if address not in self.workers and address not in self.refused:
                mark = self.store.paths.runs / f"{self._mark}{secrets.token_hex(8)}"
                asked = self._ask(address, mark)
                self.workers[address] = _Worker(address, int(known.get("nthreads", 1)), asked, mark)
        for worker in list(self.workers.values()):
            if worker.asked is not None and worker.asked.done():
                self._judge(worker)
        for address in [address for address in self.refused if address not in there]:
            del self.refused[address]
        if gone:
            self._tell_workers()
        return gone

    def _connected(self) -> dict[str, Any] | None:
        """None where the scheduler does not answer now."""
        try:
            # Not `scheduler_info`: its answer is overwritten now and then by one that names no worker.
            scheduler: Any = self.client.scheduler
            identity = self.client.sync(scheduler.identity, n_workers=-1)
            found: dict[str, Any] = identity["workers"]
            if self.client.status != "running":
                raise OSError("closed")
        except Exception as error:
            # Whatever a library says about a connection that broke.
            if time.monotonic() - self.answered > LOST_SECONDS or self.client.status == "closed":
                raise _scheduler_gone() from error
            time.sleep(LOOK_SECONDS)
            return None
        self.answered = time.monotonic()
        return found

    def _ask(self, address: str, mark: Path) -> Future[Any]:
        settings, files = settings_elsewhere(self.stamps.settings, self.stamps.models), self._some_files()
        question = {
            "out": str(self.store.paths.root),
            "export": str(settings.export),
            "token": self.token,
            "model": settings.model,
            "device": settings.device,
            "files": [path for path, _ in files],
            "states": [state for _, state in files],
            "mark": mark.name,
        }
        return self._submit(describe_worker, question, address)

    def _some_files(self) -> list[tuple[str, tuple[int, int]]]:
        """Files that are there for this process, of slides from all over the batch, with their sizes and times."""
        step = max(1, len(self.pending) // FILES_ASKED)
        slides = [plan.slide for plan in self.pending[::step][:FILES_ASKED]]
        return [
            (path, (file.size, file.mtime_ns))
            for slide in slides
            for file in slide.files[:1]
            if os.path.exists(path := f"{slide.root / file.path}")
        ]

    def _submit(self, function: Callable[[Any], Any], argument: object, address: str) -> Future[Any]:
        try:
            return self.client.submit(
                function,
                argument,
                key=f"mnbatch-{secrets.token_hex(8)}",
                workers=[address],
                allow_other_workers=False,
                pure=False,
                retries=0,
            )
        except Exception as error:
            # The client gives its scheduler up by itself, at any time between two looks.
            if self.client.status in ("closing", "closed"):
                raise _scheduler_gone() from error
            raise

    def _judge(self, worker: _Worker) -> None:
        """Let it take part, or refuse it and say why, or look for its mark again later."""
        try:
            if worker.answer is None:
                worker.answer, worker.since = self._answer(worker), time.monotonic()
            wrong = self._differences(worker.answer)
        except Exception as error:  # noqa: BLE001 - what cannot be loaded there may say so in any words
            wrong = ModelError(f"it cannot run mnbatch: {type(error).__name__}: {error}", "Install it there.")
        if wrong is None and not _is_seen(worker.mark):
            if time.monotonic() - worker.since < MARK_SECONDS:
                return
            wrong = self._other_folder()
        _remove(worker.mark)
        worker.asked = None
        if wrong is not None:
            self._refuse(worker, wrong)
            return
        assert worker.answer is not None
        self.device = worker.device = worker.answer["device"]
        worker.answer = None
        self._tell_workers()

    def _answer(self, worker: _Worker) -> dict[str, Any]:
        assert worker.asked is not None
        answer: dict[str, Any] = worker.asked.result(timeout=RESULT_SECONDS)
        worker.host = answer["host"]
        return answer

    def _other_folder(self) -> StorageError:
        return StorageError(
            f"its {self.store.paths.root} is not the folder of this run but a copy of it: a file that the worker wrote "
            "there is not seen here",
            "Mount the share that holds OUT there, under the same path.",
        )

    @property
    def _mark(self) -> str:
        return f"{_MARK}{self.token[:8]}-"

    def _remove_marks(self, prefix: str) -> None:
        """Of workers that were lost before they were judged."""
        for path in self.store.paths.runs.glob(f"{prefix}*"):
            _remove(path)

    def _differences(self, answer: dict[str, Any]) -> MnbatchError | None:
        """What keeps a worker from taking part; the message is of the worker alone."""
        other = different_versions(versions(), answer["versions"])
        if answer["model"] != self.digest:
            other.append(f"model {answer['model'][:12]}, not {self.digest[:12]}")
        if self.device and answer["device"] != self.device:
            other.append(f"device {answer['device']}, not {self.device}")
        if other:
            return MismatchError("; ".join(other), "Use the same installation, model and kind of device everywhere.")
        unseen = [name for name in ("out", "export") if not answer[name]]
        if unseen:
            where = {"out": self.store.paths.root, "export": self.stamps.settings.export.resolve()}
            paths = " and ".join(str(where[name]) for name in unseen)
            return StorageError(f"it does not see {paths}", "Mount the share there, under the same path.")
        if answer["other"]:
            text = f"it sees another export under {self.stamps.settings.export}: {answer['other']}"
            return StorageError(text, "Mount the export of the run there, under the same path.")
        if answer["unwritable"]:
            text = f"it cannot write into {self.store.paths.runs}: {answer['unwritable']}"
            return StorageError(text, "Let it write there: its user, and how the share is mounted.")
        return None

    def _refuse(self, worker: _Worker, wrong: MnbatchError) -> None:
        self.workers.pop(worker.address, None)
        self.refused[worker.address] = wrong
        self.tools.progress.warning(f"{worker.name} takes no part: {wrong.message}. {wrong.next_step}")
        self.tools.log("refused", level="warning", worker=worker.address, host=worker.host, reason=wrong.message)
        self._tell_workers()

    def _tell_workers(self) -> None:
        there = sorted((w for w in self.workers.values() if w.asked is None), key=lambda w: w.address)
        self.tools.on_workers([{"address": w.address, "host": w.host, "device": w.device} for w in there])

    def _hear_of_jobs(self) -> None:
        """What the batch system said of the jobs that this run asked it for, once.

        Raises:
            ClusterError: it accepted none: nobody will come.
        """
        jobs = submissions_of(self.client)
        if self.told_of_jobs or jobs is None or not jobs.over:
            return
        self.told_of_jobs = True
        if not jobs.accepted:
            next_step = "Correct the file of --cluster, or run where jobs can be submitted. Finished slides are kept."
            raise ClusterError(f"No job was started: {jobs.refused[0]}.", next_step)
        if jobs.refused:
            text = f"{len(jobs.refused)} of {jobs.wanted} jobs were not started: {jobs.refused[0]}"
            self.tools.progress.warning(f"{text}. The run goes on with the others.")
            self.tools.log("jobs", level="warning", reason=text)

    def _refuse_to_wait_for_ever(self) -> None:
        self._hear_of_jobs()
        # A worker that is connected loads mnbatch before it answers, which may take longer than the timeout.
        patience = max(self.tools.timeout, ANSWER_SECONDS) if self.workers else self.tools.timeout
        if any(worker.asked is None for worker in self.workers.values()):
            self.since = time.monotonic()
        elif time.monotonic() - self.since > patience:
            seconds = f"{self.tools.timeout:.0f} seconds"
            if not self.refused:
                raise ClusterError(
                    f"No worker of the cluster {self.stamps.settings.cluster} came within {seconds}.",
                    "Start workers and run again: finished slides are kept. --cluster-timeout waits longer.",
                )
            wrong = next(iter(self.refused.values()))
            text = f"None of {len(self.refused)} workers can take part: {wrong.message}."
            raise type(wrong)(text, wrong.next_step)

    # Shards: out, back, lost.

    def _send(self, worker: _Worker) -> None:
        shard = self.shards.give()
        settings = settings_elsewhere(self.stamps.settings, self.stamps.models)
        slides = tuple((plan.slide, plan.why) for plan in shard.plans)
        order = Order(self.store.paths.root, self.token, settings, slides, worker.threads)
        worker.shard, worker.future = shard, self._submit(score_shard, order, worker.address)

    def _gather(self) -> Iterator[tuple[SlideJob, SlideRecord]]:
        """Wait a moment for what comes back."""
        self._pause([worker.awaited for worker in self.workers.values()])
        for worker in list(self.workers.values()):
            if worker.future is not None and worker.future.done():
                yield from self._take(worker)

    def _pause(self, futures: list[Future[Any] | None]) -> None:
        from distributed import CancelledError, wait

        waiting = [future for future in futures if future is not None]
        if not waiting:
            time.sleep(LOOK_SECONDS)
            return
        try:
            # `wait` asks the client of this thread, and there may be others in this process.
            with self.client.as_current():
                wait(waiting, timeout=LOOK_SECONDS, return_when="FIRST_COMPLETED")
        except (TimeoutError, CancelledError):
            # A future that was cancelled, or that its scheduler forgot, is taken as soon as it is looked at.
            return
        except RuntimeError:
            # The client is closed, which the next look says.
            time.sleep(LOOK_SECONDS)

    def _take(self, worker: _Worker) -> Iterator[tuple[SlideJob, SlideRecord]]:
        shard, future = worker.shard, worker.future
        assert shard is not None
        assert future is not None
        worker.shard = worker.future = None
        if future.status in ("cancelled", "lost"):
            # The scheduler forgot it (it was started again, perhaps); neither worker nor slides are at fault.
            yield from self._noted(shard, {})
            self.shards.back(shard, self._committed)
            return
        try:
            finished: list[Finished] = future.result(timeout=RESULT_SECONDS)
        except (StorageError, LockHeldError, ModelError, UsageError) as error:
            # Of this worker. Where OUT itself is full no other can do better: that ends the run at once.
            check_still_held(self.store.paths.lock)
            if isinstance(error, StorageError):
                check_room(self.store.paths.root)
                if (yield from self._changed_here(shard)):
                    return
            self._refuse(worker, type(error)(error.message.rstrip("."), error.next_step))
            yield from self._noted(shard, {})
            self.shards.back(shard, self._committed)
            return
        except Exception as error:  # noqa: BLE001 - the worker died, or something in it did
            yield from self._lost(worker, shard, f"{type(error).__name__}: {error}")
            if _DEVICE_LOST.search(str(error)) and worker.address in self.workers:
                # Whatever it is given next fails as well, and sooner than others finish theirs.
                lost = ClusterError(f"its device was lost ({short(str(error))})", "Start that worker again")
                self._refuse(worker, lost)
            return
        causes = {one.slide_id: one.cause for one in finished}
        self.unseen.append(_Unseen(shard, worker.name, causes, time.monotonic()))
        yield from self._look_for_records()

    def _changed_here(self, shard: Shard) -> Generator[tuple[SlideJob, SlideRecord], None, bool]:
        """Whether files of the shard are no longer those that this run found: then the worker is not at fault. Such
        slides are left to the next run, and the others go out again."""
        changed = [(plan, other) for plan in shard.plans if (other := other_file(plan.slide))]
        for plan, other in changed:
            said = say("files-changed", slide=Named("slide", plan.slide.name), what=Foreign(other, "see the log"))
            yield self._fail(plan, SlideError(said, say("files-changed-do"), transient=True))
        if changed:
            yield from self._noted(shard, {})
            self.shards.back(shard, lambda plan: plan.slide.slide_id in self.noted)
        return bool(changed)

    def _look_for_records(self) -> Iterator[tuple[SlideJob, SlideRecord]]:
        """Of shards that came back. What is not seen after a while goes out again, as after a death: a worker may write
        to another folder than this process reads, and it will do so each time."""
        for one in list(self.unseen):
            yield from self._noted(one.shard, one.causes)
            if all(plan.slide.slide_id in self.noted for plan in one.shard.plans):
                self.unseen.remove(one)
                self.shards.done(one.shard)
            elif time.monotonic() - one.since >= RECORD_SECONDS:
                self.unseen.remove(one)
                yield from self._give_up_looking(one)

    def _give_up_looking(self, one: _Unseen) -> Iterator[tuple[SlideJob, SlideRecord]]:
        left = [plan.slide.slide_id for plan in one.shard.plans if plan.slide.slide_id not in self.noted]
        given_up = self.shards.lost(one.shard, lambda plan: plan.slide.slide_id in self.noted)
        slides = "1 slide" if len(left) == 1 else f"{len(left)} slides"
        text = f"{one.worker} says that it has finished, and {self.store.paths.slides} shows nothing new of {slides}"
        # Either all of them had tries before, alone, or none.
        now = f"After {MOST_DEATHS} tries this is left to the next run" if given_up else "This goes out again"
        self.tools.progress.warning(f"{text}. {now}. Check that the worker has the same share mounted.")
        self.tools.log("unseen", level="warning", worker=one.worker, slides=left, reason=text)
        for plan in given_up:
            said = say("not-committed", slide=Named("slide", plan.slide.name))
            yield self._fail(plan, SlideError(said, say("not-committed-do"), transient=True))

    def _bury(self, gone: list[_Worker]) -> Iterator[tuple[SlideJob, SlideRecord]]:
        """Shards of workers that are no longer connected."""
        from distributed.client import ClosedClientError

        for worker in gone:
            if worker.future is not None and worker.shard is not None:
                # What it had sent back is of no use without its memory; what it committed is on the disk.
                # A client that is closed has nobody to tell it to; the next look says so.
                with contextlib.suppress(ClosedClientError, RuntimeError):
                    worker.future.cancel()
                yield from self._lost(worker, worker.shard, "it is not connected any more")

    def _lost(self, worker: _Worker, shard: Shard, why: str) -> Iterator[tuple[SlideJob, SlideRecord]]:
        yield from self._noted(shard, {})
        left = [plan for plan in shard.plans if not self._committed(plan)]
        self.tools.progress.message(f"{worker.name} was lost ({why}); {len(left)} slides go out again")
        for plan in self.shards.lost(shard, self._committed):
            said = say("workers-died", slide=Named("slide", plan.slide.name), number=MOST_DEATHS)
            yield self._fail(plan, SlideError(said, say("workers-died-do"), transient=True))

    def _fail(self, plan: Plan, error: SlideError) -> tuple[SlideJob, SlideRecord]:
        job = SlideJob(plan.slide, plan.why)
        record = failed_record(job, error, self.stamps)
        self.store.put_record(record)
        self.noted.add(plan.slide.slide_id)
        return job, record

    # Records: what is true is what is on the disk.

    def _committed(self, plan: Plan) -> bool:
        return self._new_record(plan) is not None

    def _new_record(self, plan: Plan) -> SlideRecord | None:
        record = self.store.record(plan.slide.slide_id)
        return None if record is None or is_damaged(record) or record == plan.record else record

    def _noted(self, shard: Shard, causes: dict[str, str]) -> Iterator[tuple[SlideJob, SlideRecord]]:
        """What a shard committed, read from the disk, once."""
        for plan in shard.plans:
            slide_id = plan.slide.slide_id
            record = None if slide_id in self.noted else self._new_record(plan)
            if record is None:
                continue
            self.noted.add(slide_id)
            job = SlideJob(plan.slide, plan.why)
            cause = causes.get(slide_id, "")
            job.cause = RuntimeError(cause) if cause else None
            self.tools.progress.cells(record.cells)
            yield job, record

    def _read_again(self) -> Iterator[tuple[SlideJob, SlideRecord]]:
        """Before anything is reported: every slide that was to be scored is whole on the disk, or fails."""
        for plan in self.pending:
            record = self.store.record(plan.slide.slide_id)
            whole = record is not None and not is_damaged(record) and not self.store.damage(record)
            if not whole:
                said = say("not-committed", slide=Named("slide", plan.slide.name))
                yield self._fail(plan, SlideError(said, say("not-committed-do"), transient=True))


def _is_seen(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except OSError:
        # Of a share that is away for a moment.
        return False


def _remove(path: Path) -> None:
    """It may be of another user, whose files this process cannot remove."""
    with contextlib.suppress(OSError):
        path.unlink()


def check_room(out: Path) -> None:
    """Whether this process can write a little to OUT.

    Raises:
        StorageError: its disk is full, or it cannot be written.
    """
    with storage_errors(out), tempfile.TemporaryFile(dir=out) as file:
        file.write(secrets.token_bytes(ROOM_BYTES))
        file.flush()
        os.fsync(file.fileno())


def _scheduler_gone() -> ClusterError:
    return ClusterError(
        "The scheduler of the cluster does not answer any more.",
        "Start it again, and run again: finished slides are kept.",
    )
