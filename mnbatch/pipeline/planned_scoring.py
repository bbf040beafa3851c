"""Some slides of a plan scored, each committed as a run would do it: for the jobs of a batch system."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mnbatch.assay.cells import Slide
from mnbatch.console import RunProgress, SilentProgress
from mnbatch.errors import EXIT_OK, EXIT_SLIDES_FAILED, MismatchError, NoInputError
from mnbatch.inference.catalogue import ModelSet
from mnbatch.pipeline.committing import unscored_record
from mnbatch.pipeline.grown_slides import note_grown
from mnbatch.pipeline.interrupts import stop_on_signals
from mnbatch.pipeline.plan_file import PlanFile, PlannedScore, PlannedWait, read_plan, refuse_other_versions
from mnbatch.pipeline.planning import Plan, Stamps
from mnbatch.pipeline.reading import default_workers
from mnbatch.pipeline.same_files import other_file
from mnbatch.pipeline.since_planned import Arrivals, said_of
from mnbatch.pipeline.workers import WorkerPool
from mnbatch.results.acknowledged import Acknowledgements, load_acknowledgements
from mnbatch.results.batch import Batch, open_batch, refuse_out_in_export
from mnbatch.results.commit import is_damaged
from mnbatch.results.manifest import RunLog
from mnbatch.results.planned_slides import NotedSlide, note_plan, state_of
from mnbatch.results.records import SlideRecord
from mnbatch.results.roster import Roster
from mnbatch.results.shared_lock import check_token, share_out
from mnbatch.results.store import Store

if TYPE_CHECKING:
    from mnbatch.inference.classifier import Classifier
    from mnbatch.pipeline.reading import SlideJob


_SHOWN = 3


_CHANGED = "its files changed after the plan was made, or another export lies under its path on this machine"


@dataclass(slots=True)
class Scored:
    """What became of some slides of a plan.

    Attributes:
        scored: slide_ids that were committed now; there: by an earlier attempt; none of either that failed.
        failed: of either, those that reports will not count; known: of these, those that a person acknowledged.
        waiting: slides of the plan that wait for their files: no job of it scores them.
        log: JSON-lines log of this process.
    """

    scored: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    log: Path | None = None

    @property
    def exit_code(self) -> int:
        """3 where a slide failed and nobody has said that they know, or where the plan leaves some to wait."""
        return EXIT_SLIDES_FAILED if set(self.failed) - set(self.known) or self.waiting else EXIT_OK


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

    Slides that another attempt committed since the plan was made are left as they are. All slides of the plan are noted
    in OUT first, also those that wait for their files, so that reports name those that no job scores.

    Raises:
        UsageError: no plan, or one under pseudonyms, or no token.
        MismatchError: other versions or models, the plan of another OUT, or OUT belongs to another export.
        LockHeldError: OUT is held by a run of another token, or was taken over by one.
        Interrupted: stopped by a signal; what was whole is committed.
        MnbatchError: what else would end a run.
    """
    whole = read_plan(plan_path)
    plan = _settled(whole, share)
    settings, token = plan.settings.model_copy(update={"out": out}), share.token or plan.run
    check_token(token)
    _check(plan, plan_path, out)
    models, store = ModelSet.open(settings.model), Store(out)
    refuse_other_versions(plan, models.digest)
    progress = progress or SilentProgress()
    for sentence in plan.unplaced:
        progress.warning(sentence)
    for name, original in plan.copies:
        progress.warning(f"{name} is a copy of {original} and is counted once")
    waiting = [one for one in whole.waiting if not _came_since(one, store)]
    _warn_of_waiting(waiting, progress)
    done = Scored(waiting=[one.slide_id for one in waiting])
    to_note = [(one.slide, one.was) for one in whole.slides]
    to_note += [(one.slide, one.was) for one in whole.waiting if one.slide is not None]
    noted = [NotedSlide(unscored_record(slide, settings), was) for slide, was in to_note]
    if not noted:
        if store.paths.batch.exists():
            # The report that follows asks for the token, also where there was nothing to do.
            note_plan(store.paths, token, noted, plan.report)
        return done
    workers = WorkerPool(settings.workers or default_workers(), settings.file_deadline, settings.file_memory)
    with share_out(store.paths, token), stop_on_signals() as stop, workers as pool:
        batch = Batch(str(settings.export.resolve()), settings.layout, False, to_note[0][0].kind)
        open_batch(store.paths, batch, moved=settings.export_moved)
        note_plan(store.paths, token, noted, plan.report)
        stop.when_set(lambda: pool.hurry(5.0))
        log = RunLog.start(store.paths)
        done.log = log.path
        for one in waiting:
            log.write("waits", level="warning", slide=one.slide_id, reason=one.why)
        stamps = Stamps(models, settings)
        job = _Job(store, pool, stop, log, done, progress, load_acknowledgements(store.paths))
        try:
            _score(_pending(plan.slides, job, stamps), stamps, job)
        finally:
            log.close()
        stop.check()
    return done


def _came_since(one: PlannedWait, store: Store) -> bool:
    """Whether a slide that was to wait has been scored since, by a run or by jobs of another plan."""
    return one.slide is not None and committed_since(store.record(one.slide_id), one.was)


def _warn_of_waiting(waiting: list[PlannedWait], progress: RunProgress) -> None:
    if not waiting:
        return
    shown = "; ".join(f"{one.name}: {one.why}" for one in waiting[:_SHOWN])
    more = f"; and {len(waiting) - _SHOWN} more" if len(waiting) > _SHOWN else ""
    what = "1 slide waits for its files" if len(waiting) == 1 else f"{len(waiting)} slides wait for their files"
    them = "it" if len(waiting) == 1 else "them"
    progress.warning(
        f"{what}, and no job of this plan scores {them} ({shown}{more}): plan again when all files are there, or use "
        "`mnbatch run`"
    )


def _settled(plan: PlanFile, share: Share) -> PlanFile:
    given = {"device": share.device, "workers": share.workers}
    settings = plan.settings.model_copy(update={name: value for name, value in given.items() if value is not None})
    mine = plan.part(*share.part) if share.part else plan
    return dataclasses.replace(plan, settings=settings, slides=mine.slides)


def _check(plan: PlanFile, plan_path: Path, out: Path) -> None:
    settings = plan.settings
    if plan.out is not None and plan.out != out.resolve():
        raise MismatchError(
            f"The plan {plan_path} was made for {plan.out}, not for {out.resolve()}.",
            "Give the OUT of the plan, or plan again with this --out.",
        )
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
    progress: RunProgress
    known: Acknowledgements

    def failure(self, record: SlideRecord) -> tuple[str, str, bool]:
        """Why reports will not count a slide, what to do, and whether a person knows; "" for one that they will.

        What only the batch as a whole shows (copies in other slides, cells of two donors) is for the report to say.
        """
        call, next_step = Roster(self.store, (record,), (), {}, self.known).call(record)
        if call.status != "failed":
            return "", "", False
        return call.reason, next_step or record.next_step, call.acknowledged

    def note_failed(self, record: SlideRecord) -> bool:
        """Say of a slide that failed that it did; False for one that did not."""
        why, next_step, known = self.failure(record)
        if why:
            self.done.failed.append(record.slide_id)
            self.done.known += [record.slide_id] if known else []
            self.progress.warning(f"{record.name} failed: {why} {next_step}".rstrip())
        return bool(why)

    def leave(self, slide: Slide, why: str) -> None:
        """Say of a slide that it is not scored; reports have it wait, as one that no job was given."""
        self.done.failed.append(slide.slide_id)
        self.log.write("left", level="error", slide=slide.slide_id, reason=why)
        self.progress.warning(f"{slide.name} is not scored: {why}")


def committed_since(record: SlideRecord | None, was: str) -> bool:
    """Whether a slide has a result that it had not when its plan was made, and that need not be made again."""
    if record is None or state_of(record) == was or is_damaged(record):
        return False
    return record.status == "scored" or (record.status == "failed" and not record.transient)


def _arrivals(stamps: Stamps) -> Arrivals:
    return Arrivals(stamps.fields.page_options, stated=stamps.settings.input != "auto")


def _pending(slides: tuple[PlannedScore, ...], job: _Job, stamps: Stamps) -> list[Plan]:
    arrivals = _arrivals(stamps)
    pending = []
    for one in slides:
        record = job.store.record(one.slide.slide_id)
        if record is not None and committed_since(record, one.was) and not job.store.damage(record):
            if not job.note_failed(record):
                job.done.there.append(one.slide.slide_id)
        elif came := arrivals.of(one.slide):
            job.leave(one.slide, f"{said_of(came)}: plan again, or use `mnbatch run`")
        elif other := other_file(one.slide):
            job.leave(one.slide, f"{_CHANGED} ({other}): mount the planned export, or plan again")
        else:
            pending.append(Plan(one.slide, "score", one.why, record))
    return pending


def _score(pending: list[Plan], stamps: Stamps, job: _Job) -> None:
    if not pending:
        return
    from mnbatch.pipeline.scoring import Tools, score_slides

    def loaded(classifier: Classifier) -> None:
        name = classifier.model.card.name
        job.progress.message(f"model {name} on {classifier.device_name}, {classifier.precision}")

    tools = Tools(job.progress, None, job.stop, loaded, job.pool)
    for slide_job, record in score_slides(pending, job.store, stamps, tools):
        _note(slide_job, record, job)
    arrivals, scored = _arrivals(stamps), set(job.done.scored)
    for plan in pending:
        if plan.slide.slide_id in scored:
            note_grown(plan.slide, job.store, arrivals, job.progress.warning, job.log)


def _note(slide_job: SlideJob, record: SlideRecord, job: _Job) -> None:
    failed = job.note_failed(record)
    known = {"status": record.status, "cells": record.cells, "reason": record.reason}
    job.log.write("slide", level="error" if failed else "info", error=slide_job.cause, slide=record.slide_id, **known)
    if not failed:
        job.done.scored.append(record.slide_id)
        job.progress.slide(record.name, f"{record.cells} cells scored ({slide_job.why})")
