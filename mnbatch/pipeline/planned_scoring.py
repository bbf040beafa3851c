"""Some slides of a plan scored, each committed as a run would do it: for the jobs of a batch system."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mnbatch.console import RunProgress, SilentProgress
from mnbatch.errors import EXIT_OK, EXIT_SLIDES_FAILED, NoInputError
from mnbatch.inference.catalogue import ModelSet
from mnbatch.pipeline.interrupts import stop_on_signals
from mnbatch.pipeline.plan_file import PlanFile, PlannedScore, read_plan, refuse_other_versions, state_of
from mnbatch.pipeline.planning import Plan, Stamps
from mnbatch.pipeline.reading import default_workers
from mnbatch.pipeline.workers import WorkerPool
from mnbatch.results.batch import Batch, open_batch, refuse_out_in_export
from mnbatch.results.commit import is_damaged
from mnbatch.results.manifest import RunLog
from mnbatch.results.records import SlideRecord
from mnbatch.results.shared_lock import share_out
from mnbatch.results.store import Store

if TYPE_CHECKING:
    from mnbatch.inference.classifier import Classifier
    from mnbatch.pipeline.reading import SlideJob


@dataclass(slots=True)
class Scored:
    """What became of some slides of a plan.

    Attributes:
        scored, failed: slide_ids, as they were committed now; there: committed by an earlier attempt.
        log: JSON-lines log of this process.
    """

    scored: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    log: Path | None = None

    @property
    def exit_code(self) -> int:
        """3 where a slide failed."""
        return EXIT_SLIDES_FAILED if self.failed else EXIT_OK


@dataclass(frozen=True, slots=True)
class Share:
    """What one process is to do of a plan.

    Attributes:
        token: of the run; "" for the plan's own.
        part: (k, n): the k-th of n parts; None for all.
        device, workers: in place of the plan's, for a machine of another kind; None leaves them.
    """

    token: str = ""
    part: tuple[int, int] | None = None
    device: str | None = None
    workers: int | None = None


def score_planned(out: Path, plan_path: Path, share: Share, progress: RunProgress | None = None) -> Scored:
    """Score slides of a plan; no report is made.

    Slides that another attempt committed since the plan was made are left as they are.

    Raises:
        UsageError: no plan, or one under pseudonyms, or no token.
        MismatchError: other versions or models, or OUT belongs to another export.
        LockHeldError: OUT is held by a run of another token, or was taken over by one.
        Interrupted: stopped by a signal; what was whole is committed.
        MnbatchError: what else would end a run.
    """
    plan = _settled(read_plan(plan_path), share)
    settings, token = plan.settings.model_copy(update={"out": out}), share.token or plan.run
    _check(plan, out)
    models, store = ModelSet.open(settings.model), Store(out)
    refuse_other_versions(plan, models.digest)
    if not plan.slides:
        return Scored()
    workers = WorkerPool(settings.workers or default_workers(), settings.file_deadline, settings.file_memory)
    with share_out(store.paths, token), stop_on_signals() as stop, workers as pool:
        kind = plan.slides[0].slide.kind
        batch = Batch(str(settings.export.resolve()), settings.layout, False, kind)
        open_batch(store.paths, batch, moved=settings.export_moved)
        stop.when_set(lambda: pool.hurry(5.0))
        log = RunLog.start(store.paths)
        done = Scored(log=log.path)
        try:
            _score(
                _pending(plan.slides, store, done),
                Stamps(models, settings),
                _Job(store, pool, stop, log, done, progress),
            )
        finally:
            log.close()
        stop.check()
    return done


def _settled(plan: PlanFile, share: Share) -> PlanFile:
    given = {"device": share.device, "workers": share.workers}
    settings = plan.settings.model_copy(update={name: value for name, value in given.items() if value is not None})
    mine = plan.part(*share.part) if share.part else plan
    return PlanFile(plan.run, settings, plan.model, plan.versions, mine.slides)


def _check(plan: PlanFile, out: Path) -> None:
    settings = plan.settings
    refuse_out_in_export(settings.export, out)
    if not settings.export.is_dir():
        raise NoInputError(
            f"The export {settings.export} is not a directory that can be read.",
            "Check the path and its permissions, or mount the share on this machine.",
        )


@dataclass(frozen=True, slots=True)
class _Job:
    store: Store
    pool: WorkerPool
    stop: Callable[[], bool]
    log: RunLog
    done: Scored
    progress: RunProgress | None


def committed_since(record: SlideRecord | None, was: str) -> bool:
    """Whether a slide has a result that it had not when its plan was made, and that need not be made again."""
    if record is None or state_of(record) == was or is_damaged(record):
        return False
    return record.status == "scored" or (record.status == "failed" and not record.transient)


def _pending(slides: tuple[PlannedScore, ...], store: Store, done: Scored) -> list[Plan]:
    pending = []
    for one in slides:
        record = store.record(one.slide.slide_id)
        there = committed_since(record, one.was) and not (record and store.damage(record))
        if there:
            done.there.append(one.slide.slide_id)
        else:
            pending.append(Plan(one.slide, "score", one.why, record))
    return pending


def _score(pending: list[Plan], stamps: Stamps, job: _Job) -> None:
    if not pending:
        return
    from mnbatch.pipeline.scoring import Tools, score_slides

    progress = job.progress or SilentProgress()

    def loaded(classifier: Classifier) -> None:
        progress.message(f"model {classifier.model.card.name} on {classifier.device_name}, {classifier.precision}")

    for slide_job, record in score_slides(
        pending, job.store, stamps, Tools(progress, None, job.stop, loaded, job.pool)
    ):
        _note(slide_job, record, job, progress)


def _note(slide_job: SlideJob, record: SlideRecord, job: _Job, progress: RunProgress) -> None:
    failed = record.status == "failed"
    (job.done.failed if failed else job.done.scored).append(record.slide_id)
    known = {"status": record.status, "cells": record.cells, "reason": record.reason}
    job.log.write("slide", level="error" if failed else "info", error=slide_job.cause, slide=record.slide_id, **known)
    if failed:
        progress.warning(f"{record.name} failed: {record.reason} {record.next_step}")
    else:
        progress.slide(record.name, f"{record.cells} cells scored ({slide_job.why})")
