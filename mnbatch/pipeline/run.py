"""The story of a run, top to bottom: crawl, decide what is pending, score, commit, report."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnbatch.assay.alike_names import alike_donors, alike_warning
from mnbatch.assay.cells import Skipped, Slide
from mnbatch.assay.field_records import InputKind
from mnbatch.assay.page_options import PageOptions
from mnbatch.assay.reasons import one_of, shareable
from mnbatch.assay.sample_sheet import match_samples, read_samples, sheet_notes, unread_columns
from mnbatch.console import RunProgress, SilentProgress
from mnbatch.errors import (
    EXIT_INTERNAL,
    EXIT_OK,
    EXIT_SLIDES_FAILED,
    Interrupted,
    MnbatchError,
    ModelError,
    NoInputError,
    StorageError,
    UsageError,
)
from mnbatch.files import as_storage_error
from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.fields.field_options import CropScale
from mnbatch.imaging.inputs import recognise_input
from mnbatch.inference.catalogue import ModelSet
from mnbatch.pipeline.cluster_opening import check_cluster_of
from mnbatch.pipeline.committing import copy_record, unscored_record
from mnbatch.pipeline.covering import Cover, covering
from mnbatch.pipeline.grown_slides import note_grown
from mnbatch.pipeline.interrupts import StopFlag, stop_on_signals
from mnbatch.pipeline.planning import Plan, Stamps, plan_slides
from mnbatch.pipeline.reading import SlideJob, default_workers
from mnbatch.pipeline.regrouped import Regrouped
from mnbatch.pipeline.reuse import Reuse
from mnbatch.pipeline.since_planned import Arrivals
from mnbatch.pipeline.unplaced import Unplaced
from mnbatch.pipeline.waiting import has_rested, waiting_record
from mnbatch.pipeline.workers import WorkerPool
from mnbatch.report.build import ReportOptions, ReportSummary, build_reports
from mnbatch.report.unchanged import bring_up_to_date
from mnbatch.report.verifying import Finding, verify_out
from mnbatch.results.annotations import load_samples, save_samples
from mnbatch.results.batch import Batch, bound_to, open_batch, read_batch, refuse_out_in_export, write_batch
from mnbatch.results.keys import stat_key
from mnbatch.results.laboratory_file import keep_laboratory
from mnbatch.results.lock import hold_out
from mnbatch.results.manifest import Manifest, RunLog, noting_false_start
from mnbatch.results.out_files import storage_errors
from mnbatch.results.paths import OutPaths
from mnbatch.results.planned_slides import WORK, NotedSlide, end_plans, note_run, state_of
from mnbatch.results.pseudonyms import Pseudonyms
from mnbatch.results.records import SlideRecord
from mnbatch.results.store import Store
from mnbatch.settings import ResolvedSettings, RunSettings
from mnbatch.streams import lost_outputs

if TYPE_CHECKING:
    from mnbatch.inference.classifier import Classifier

BYTES_A_FILE = {"crops": 13_000, "fields": 400_000, "wsi": 100_000_000}
"""Room that the disk must have for each file that is still to be scored: crops, maps, rows, and its share of pages."""

BYTES_WITHOUT_CROPS = {"crops": 5_000, "fields": 150_000, "wsi": 40_000_000}
"""The same with --no-crops: rows and pages."""
BYTES_AT_LEAST = 50_000_000

STOP_SECONDS = 5.0
"""After a first signal, what is being read may take so long; then it is given up, and left to the next run."""


@dataclass(slots=True)
class RunOutcome:
    """What a run did.

    Attributes:
        exit_code: as in `mnbatch.errors`.
        scored, called, kept, failed, waiting, copies: slide_ids by what happened to them in this run.
        overdue: of those that wait, the ones that waited for longer than a day (or than twice --settle).
        report: the tables as they are now.
        log: the JSON-lines log of the run.
        reused: slide_ids whose scores were taken over from another OUT.
        told: slides of which a warning has already said what is wrong.
        unplaced: sentences about images and empty folders that are in no slide.
    """

    exit_code: int = EXIT_OK
    scored: list[str] = field(default_factory=list)
    called: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    overdue: list[str] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)
    report: ReportSummary | None = None
    log: Path | None = None
    told: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    unplaced: list[str] = field(default_factory=list)


def run(resolved: ResolvedSettings, progress: RunProgress | None = None) -> RunOutcome:
    """Score what is pending of an export and bring the reports up to date.

    Raises:
        MnbatchError: anything that stops the whole run; a slide's own failure does not, it is in the outcome.
        Interrupted: stopped by a signal; what was whole is committed and reported at the next run.
    """
    progress = progress or SilentProgress()
    paths = OutPaths(resolved.settings.out.resolve())
    with noting_false_start(paths), covering(resolved.settings) as cover:
        return _run(resolved, progress, cover)


def _run(resolved: ResolvedSettings, progress: RunProgress, cover: Cover) -> RunOutcome:
    settings = resolved.settings
    refuse_out_in_export(settings.export, settings.out)
    check_cluster_of(settings)
    if not os.path.isdir(settings.export):
        raise NoInputError(
            f"The export {settings.export} is not a directory that can be read.",
            "Check the path and its permissions, or mount the share.",
        )
    models = ModelSet.open(settings.model)
    store = Store(settings.out)
    with storage_errors(store.paths.root):
        store.paths.root.mkdir(parents=True, exist_ok=True)
    workers = WorkerPool(settings.workers or default_workers(), settings.file_deadline, settings.file_memory)
    with hold_out(store.paths), stop_on_signals() as stop, workers as pool:
        stop.when_set(lambda: pool.hurry(STOP_SECONDS))
        kind = _input_kind(settings, store, models, progress, pool)
        if bound_to(store.paths) is None:
            check_something_is_there(settings, kind)
        cover.pseudonyms = _bind(settings, store, kind)
        store.sweep()
        private = settings.pseudonymise
        manifest = Manifest(store.paths, settings.model_dump(mode="json"), resolved.origins, private=private)
        manifest.write()
        log = RunLog.start(store.paths)
        try:
            return _Run(
                settings=settings,
                store=store,
                models=models,
                progress=progress,
                manifest=manifest,
                log=log,
                stop=stop,
                kind=kind,
                pool=pool,
                pseudonyms=cover.pseudonyms,
            ).go()
        except BaseException as error:
            _record_end(error, manifest, log, cover if private else None)
            cover.logged = True
            raise
        finally:
            log.close()


def plan_only(settings: RunSettings) -> tuple[list[Plan], list[str]]:
    """What a run would do with each slide, and sentences about what is in no slide; nothing is written.

    Raises:
        UsageError: under pseudonyms an OUT has no key before its first run.
        MnbatchError: what would stop the run before its first slide.
    """
    refuse_out_in_export(settings.export, settings.out)
    check_cluster_of(settings)
    models, store = ModelSet.open(settings.model), Store(settings.out)
    if settings.pseudonymise and not (store.paths.private / "key").exists():
        raise UsageError("--plan-only needs the codes of an earlier run.", "Leave out --pseudonymise, or run first.")
    with WorkerPool(settings.workers or default_workers(), settings.file_deadline, settings.file_memory) as pool:
        kind = _input_kind(settings, store, models, SilentProgress(), pool)
    stamps, unplaced = Stamps(models, settings), Unplaced()
    slides: Iterator[Slide] = find_slides(
        settings.export,
        layout=settings.layout,
        settle_seconds=settings.settle,
        explain=unplaced.note,
        kind=kind,
        stated=settings.input != "auto",
        options=stamps.fields.page_options,
    )
    if settings.samples is not None:
        slides = _sized(list(slides), settings.samples)
    if settings.pseudonymise:
        slides = map(Pseudonyms(store.paths).slide, slides)
    plans = list(plan_slides(slides, store, stamps))
    return plans, unplaced.sentences(settings.layout, named=not settings.pseudonymise)


def _sized(slides: list[Slide], sheet: Path) -> Iterator[Slide]:
    matched = match_samples(read_samples(sheet), [(slide.slide_id, slide.name, slide.path) for slide in slides])
    sizes = {slide_id: row.um_per_pixel for slide_id, row in matched.items()}
    return (replace(slide, um_per_pixel=sizes.get(slide.slide_id)) for slide in slides)


def check_something_is_there(settings: RunSettings, kind: InputKind) -> None:
    """Look for a first slide before OUT is bound to an export and a layout.

    A layout with a typing error, or a share that is not mounted, must not stay with OUT and refuse the right command.

    Raises:
        NoInputError: there is none.
        MnbatchError: the export cannot be read.
    """
    stated, said = settings.input != "auto", PageOptions(names=settings.stated_names)
    next(find_slides(settings.export, layout=settings.layout, kind=kind, stated=stated, options=said))


def _bind(settings: RunSettings, store: Store, kind: InputKind) -> Pseudonyms | None:
    """Bind OUT to the export; under pseudonyms neither its path nor a pattern is written where it may be shared."""
    known, pseudonyms = read_batch(store.paths), None
    batch = Batch(str(settings.export.resolve()), settings.layout, settings.pseudonymise, kind)
    # An OUT that was made without pseudonyms is refused below, and gets no key.
    if settings.pseudonymise and (known is None or known.pseudonymised):
        pseudonyms = Pseudonyms(store.paths)
        batch = pseudonyms.batch(batch)
        if known is not None and pseudonyms.batch(known) != known:
            # An earlier version wrote the path itself.
            write_batch(store.paths, pseudonyms.batch(known))
    open_batch(store.paths, batch, moved=settings.export_moved, private=settings.pseudonymise)
    return pseudonyms


def _input_kind(
    settings: RunSettings, store: Store, models: ModelSet, progress: RunProgress, pool: WorkerPool
) -> InputKind:
    """What the export holds: as it was asked for, as OUT knows it, or recognised."""
    known = bound_to(store.paths)
    kind: InputKind
    if settings.input != "auto":
        kind = settings.input
    elif known is not None:
        kind = known.kind
    else:
        recognised = recognise_input(settings.export, settings.layout, pool.vote)
        kind = recognised.kind
        if kind != "crops":
            why = shareable(recognised.why, one_of) if settings.pseudonymise else recognised.why
            progress.message(f"input {kind}: {why} (--input overrides this)")
    if kind != "crops" and Stamps(models, settings).fields.scale == CropScale():
        raise ModelError(
            f"The model {settings.model} does not state the scale of its crops, so none can be cut from fields.",
            "Choose another --model, or export single cells; `mnbatch model show` prints a card.",
        )
    return kind


@dataclass(slots=True)
class _Run:
    settings: RunSettings
    store: Store
    models: ModelSet
    progress: RunProgress
    manifest: Manifest
    log: RunLog
    stop: StopFlag
    kind: InputKind
    pool: WorkerPool
    outcome: RunOutcome = field(default_factory=RunOutcome)
    pseudonyms: Pseudonyms | None = None
    precisions: Counter[str] = field(default_factory=Counter)
    unplaced: Unplaced = field(default_factory=Unplaced)
    regrouped: Regrouped = field(init=False)
    # Of slides under codes: where they lie, and by which layout, with names.
    places: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def stamps(self) -> Stamps:
        return Stamps(self.models, self.settings)

    def go(self) -> RunOutcome:
        if self.pseudonyms is not None:
            self.pseudonyms.tell = lambda of, text: self.log.write("reason", of=of, text=text)
        reuse = None if self.settings.reuse is None else Reuse(self.settings.reuse, self.store, self.stamps)
        found = self._plan()
        self._say_unplaced()
        self._note(found)
        plans = self._taken_over(found, reuse)
        pending = [plan for plan in plans if plan.action == "score"]
        for plan in plans:
            self.stop.check()
            self._settle(plan)
        try:
            if pending:
                self._check_room(pending)
                self._score(pending)
        finally:
            if self.pseudonyms is not None:
                self.pseudonyms.save()
        self.stop.check()
        self._look_again(pending)
        end_plans(self.store.paths)
        self._report()
        self._finish()
        return self.outcome

    def _plan(self) -> list[Plan]:
        plans = []
        coded = self.pseudonyms
        self.regrouped = Regrouped(self.store, (lambda known: known) if coded is None else coded.slide_code)
        for plan in plan_slides(self._found(), self.store, self.stamps):
            self.stop.check()
            plans.append(plan)
            if plan.action == "wait" and self.pseudonyms is not None:
                plans[-1] = replace(plan, why=shareable(plan.why, self.pseudonyms.code))
        self.regrouped.settle(str(self.settings.export))
        if not plans:
            raise NoInputError(
                f"No slide was found in {self.settings.export} with the layout {self.settings.layout}.",
                "`mnbatch scan EXPORT --explain` shows what was seen and why it was skipped.",
            )
        self._forget_gone(plans)
        return plans

    def _note(self, plans: Sequence[Plan]) -> None:
        """Before anything is committed: should the run be ended, reports name what it did not come to."""
        noted = tuple(
            NotedSlide(unscored_record(plan.slide, self.settings), state_of(plan.record), work=plan.action)
            for plan in plans
            if plan.action in WORK
        )
        if noted:
            note_run(self.store.paths, noted)

    def _taken_over(self, plans: Sequence[Plan], reuse: Reuse | None) -> list[Plan]:
        """The plans once --reuse has taken over what it can."""
        done = []
        for found in plans:
            self.stop.check()
            plan = found if reuse is None else reuse.plan(found)
            self.log.write("planned", slide=plan.slide.slide_id, action=plan.action, why=plan.why)
            done.append(plan)
        return done

    def _found(self) -> Iterator[Slide]:
        settings = self.settings
        slides: Iterator[Slide] = find_slides(
            settings.export,
            layout=settings.layout,
            settle_seconds=settings.settle,
            explain=self._note_skipped,
            kind=self.kind,
            stated=settings.input != "auto",
            options=self.stamps.fields.page_options,
            rested=self._has_rested,
        )
        slides = map(self.regrouped.note, slides)
        if settings.laboratory is not None:
            keep_laboratory(self.store.paths, settings.laboratory)
        if settings.samples is not None:
            slides = iter(self._with_samples(list(slides), settings.samples))
        return slides if self.pseudonyms is None else map(self._under_its_code, slides)

    def _under_its_code(self, slide: Slide) -> Slide:
        assert self.pseudonyms is not None
        coded = self.pseudonyms.slide(slide)
        self.places[coded.slide_id] = {"path": slide.path, "layout": slide.layout, "skipped": slide.skipped}
        return coded

    def _has_rested(self, slide: Slide, state: str) -> bool:
        slide_id = slide.slide_id if self.pseudonyms is None else self.pseudonyms.slide_code(slide.slide_id)
        return has_rested(self.store.record(slide_id), state, self.settings.settle or 0.0)

    def _with_samples(self, slides: list[Slide], sheet: Path) -> list[Slide]:
        """Check the whole sample sheet before hours are spent, and keep it with the results."""
        if self.pseudonyms is not None:
            # Names are known before any message about the sheet.
            for slide in slides:
                self.pseudonyms.slide(slide)
        rows = read_samples(sheet)
        matched = match_samples(rows, [(slide.slide_id, slide.name, slide.path) for slide in slides])
        for note in sheet_notes(rows):
            self.progress.warning(f"sample sheet: {note}")
        own = unread_columns(sheet)
        if own:
            # A column's name may be a person's, so it is not said where names are covered.
            self.progress.warning(f"sample sheet: {own if self.pseudonyms is None else 'some columns are not read'}")
        sizes = {slide_id: row.um_per_pixel for slide_id, row in matched.items()}
        if self.pseudonyms is not None:
            coded = self.pseudonyms
            matched = {coded.slide_code(slide_id): coded.sample(slide_id, row) for slide_id, row in matched.items()}
        save_samples(self.store.paths, matched)
        return [replace(slide, um_per_pixel=sizes.get(slide.slide_id)) for slide in slides]

    def _note_skipped(self, skipped: Skipped) -> None:
        self.log.write("skipped", path=skipped.path, reason=skipped.reason)
        self.manifest.content["skipped_files"] += 1
        self.unplaced.note(skipped)

    def _say_unplaced(self) -> None:
        """What may hold cells and is in no slide is said where a person reads."""
        self.outcome.unplaced = self.unplaced.sentences(self.settings.layout, named=self.pseudonyms is None)
        self.manifest.content["not_in_any_slide"] = self.outcome.unplaced
        for sentence in self.outcome.unplaced:
            self.progress.warning(sentence)

    def _settle(self, plan: Plan) -> None:
        """Do what needs no scoring; say why the rest is scored."""
        slide_id = plan.slide.slide_id
        self.manifest.slide(slide_id, action=plan.action, why=plan.why)
        if plan.action in ("keep", "call", "touch", "reuse"):
            self._note_precision(plan.record)
        if plan.action == "score":
            self.manifest.attempt(slide_id)
            return
        if plan.action == "wait":
            self._leave(plan)
        elif plan.action == "copy":
            self.outcome.copies.append(slide_id)
            self.store.put_record(copy_record(plan.slide, self.settings))
            self.progress.warning(f"{plan.slide.name} is a copy of {plan.slide.copy_of} and is counted once")
        elif plan.action == "reuse":
            self.outcome.reused.append(slide_id)
        elif plan.action == "call":
            self.outcome.called.append(slide_id)
            self._threshold_again(plan)
        else:
            self.outcome.kept.append(slide_id)
            assert plan.record is not None
            if plan.action == "touch":
                known = {"stat_key": stat_key(plan.slide.everything), "waiting": None}
                self.store.put_record(plan.record.model_copy(update=known))
            elif plan.record.waiting is not None:
                self.store.put_record(plan.record.model_copy(update={"waiting": None}))

    def _note_precision(self, record: SlideRecord | None) -> None:
        if record is not None and record.status == "scored" and record.scored is not None:
            self.precisions[record.scored.precision] += 1

    def _warn_of_two_precisions(self) -> None:
        """Scores of both differ a little, so a batch that has both says so."""
        if len(self.precisions) > 1:
            counts = ", ".join(f"{number} in {name}" for name, number in sorted(self.precisions.items()))
            fields: dict[str, Any] = dict(self.precisions)
            self.log.write("precisions", level="warning", **fields)
            self.progress.warning(f"slides were scored in two precisions: {counts}; --precision fp32 makes them alike")

    def _leave(self, plan: Plan) -> None:
        """Note in OUT that a slide waits and since when; say it, the louder the longer it does."""
        slide = plan.slide
        if slide.waits is not None and self.pseudonyms is not None:
            slide = replace(slide, waits=replace(slide.waits, why=plan.why))
        record, said = waiting_record(slide, plan.record, self.settings)
        self.store.put_record(record)
        self.outcome.waiting.append(slide.slide_id)
        overdue = record.waiting is not None and record.waiting.overdue
        if overdue:
            self.outcome.overdue.append(slide.slide_id)
            self.outcome.told.append(slide.slide_id)
        tell = self.progress.warning if overdue else self.progress.message
        tell(f"{slide.name} is left to the next run: {said}")

    def _forget_gone(self, plans: list[Plan]) -> None:
        """A slide that only ever waited and is not in the export any more (renamed, taken back) leaves the tables."""
        there = {plan.slide.slide_id for plan in plans}
        for record in self.store.records():
            if record.status == "waiting" and record.slide_id not in there:
                self.store.forget(record.slide_id)
                self.progress.message(f"{record.name} waited to be scored and is no longer in the export")

    def _threshold_again(self, plan: Plan) -> None:
        record = plan.record
        assert record is not None
        call = self.stamps.call_of(record)
        model = self.stamps.model_of(record)
        self.store.put_record(record.model_copy(update={"call": call, "model": model, "waiting": None}))
        self.progress.message(f"{plan.slide.name}: {plan.why}; re-thresholded from stored scores, nothing was scored")

    def _check_room(self, pending: list[Plan]) -> None:
        files = sum(len(plan.slide.files) for plan in pending)
        bytes_a_file = (BYTES_A_FILE if self.settings.keep_crops else BYTES_WITHOUT_CROPS)[self.kind]
        needed = BYTES_AT_LEAST + files * bytes_a_file
        free = shutil.disk_usage(self.store.paths.root).free
        if free < needed:
            raise StorageError(
                f"The disk of {self.store.paths.root} has {free / 1e9:.2f} GB free; "
                f"this run needs about {needed / 1e9:.2f} GB.",
                "Free some space, choose another --out, or use --no-crops (about 5 kB a cell in place of 13).",
            )

    def _score(self, pending: list[Plan]) -> None:
        if self.settings.cluster is not None:
            self._score_on_cluster(pending)
            return
        # torch takes seconds to load, which a run with nothing to score need not spend.
        from mnbatch.pipeline.scoring import Tools, score_slides

        tools = Tools(self.progress, self.pseudonyms, self.stop, self._note_classifier, self.pool)
        for job, record in score_slides(pending, self.store, self.stamps, tools):
            self._note_finished(job, record)

    def _look_again(self, scored: list[Plan]) -> None:
        arrivals = Arrivals(self.stamps.fields.page_options, stated=self.settings.input != "auto")
        code = None if self.pseudonyms is None else self.pseudonyms.code
        for plan in scored:
            self.stop.check()
            slide = replace(plan.slide, **self.places.get(plan.slide.slide_id, {}))
            if note_grown(slide, self.store, arrivals, self.progress.warning, self.log, code):
                self.outcome.waiting.append(slide.slide_id)

    def _score_on_cluster(self, pending: list[Plan]) -> None:
        from mnbatch.pipeline.cluster import ClusterTools, score_on_cluster

        timeout, log = self.settings.cluster_timeout, self.log.write
        tools = ClusterTools(self.progress, self.stop, self._note_workers, timeout, log)
        for job, record in score_on_cluster(pending, self.store, self.stamps, tools):
            self._note_model(record)
            self._note_finished(job, record)
        # Processes that share OUT remove no generation that another of them may have made.
        self.store.sweep()

    def _note_workers(self, workers: list[dict[str, Any]]) -> None:
        """For `mnbatch status`, and for whoever reads the log."""
        kinds = sorted({worker["device"] for worker in workers})
        if kinds:
            self.manifest.content["device"] = f"cluster of {', '.join(kinds)}"
        self.manifest.content["workers"] = workers
        self.manifest.write()
        self.log.write("workers", workers=workers)

    def _note_model(self, record: SlideRecord) -> None:
        if record.model is not None:
            known = {"name": record.model.name, "version": record.model.version, "digest": record.model.digest}
            if known not in self.manifest.content["models"]:
                self.manifest.content["models"].append(known)

    def _note_classifier(self, classifier: Classifier) -> None:
        card, digest = classifier.model.card, classifier.model.digest
        self.manifest.content["device"] = classifier.device_name
        self.manifest.content["models"].append({"name": card.name, "version": card.version, "digest": digest})
        self.progress.message(
            f"model {card.name} ({digest[:12]}) on {classifier.device_name}, {classifier.precision}, "
            f"minibatches of {classifier.minibatch}"
        )
        if card.unfinished:
            self.log.write("unfinished model", level="warning", model=card.name, version=card.version)
            self.progress.warning(
                f"model {card.name} {card.version}: its training was broken off or goes on; give the command of the "
                "training again to finish it, then score again"
            )

    def _note_finished(self, job: SlideJob, record: SlideRecord) -> None:
        failed = record.status == "failed"
        self.outcome.scored.append(record.slide_id)
        self._note_precision(record)
        known = {"status": record.status, "cells": record.cells, "reason": record.reason}
        times = record.scored.model_dump(include={"started", "finished", "seconds"}) if record.scored else {}
        self.manifest.slide(record.slide_id, unreadable=record.unreadable, **known, **times)
        level = "error" if failed else "info"
        self.log.write("slide", level=level, error=job.cause, slide=record.slide_id, **known)
        if failed:
            self.outcome.told.append(record.slide_id)
            self.progress.warning(f"{record.name} failed: {record.reason} {record.next_step}")
        else:
            self.progress.slide(record.name, f"{record.cells} cells scored ({job.why})")

    def _report(self) -> None:
        options = ReportOptions(
            gallery=self.settings.gallery,
            min_cells=self.settings.min_cells,
            geojson=self.settings.geojson,
            label_masks=self.settings.label_masks,
        )
        make = build_reports if self.settings.verify else bring_up_to_date
        self.outcome.report = make(self.store, options, load_samples(self.store.paths))

    def _warn_of_donors(self, report: ReportSummary) -> None:
        """What is wrong with donors' codes and particulars; under pseudonyms names are compared, and codes named."""
        groups = report.alike_donors
        if self.pseudonyms is not None:
            codes = {name: code for code, name in self.pseudonyms.names.items() if code.startswith("donor-")}
            groups = tuple(tuple(codes[name] for name in group) for group in alike_donors(sorted(codes)))
        for first, *others in groups:
            self.progress.warning(alike_warning(first, others))
            self.log.write("alike donors", level="warning", donors=[first, *others])
        for donor, warning in report.contradicted:
            self.progress.warning(f"donor {donor}: {warning}")

    def _finish(self) -> None:
        report = self.outcome.report
        assert report is not None
        self._warn_of_donors(report)
        self._warn_of_two_precisions()
        for slide in report.slides:
            self.manifest.slide(slide.slide_id, status=slide.status, reason=slide.reason)
        failed = any(slide.status == "failed" and not slide.acknowledged for slide in report.slides)
        failed = bool(self._verified()) or failed
        failed = bool(self.outcome.overdue) or failed
        if report.controls.flagged:
            self.log.write("controls", level="error", state=report.controls.state)
            self.progress.warning(report.controls.sentence)
            failed = True
        self.outcome.exit_code = EXIT_SLIDES_FAILED if failed else EXIT_OK
        self.outcome.log = self.log.path
        lost = lost_outputs()
        if lost:
            self.manifest.content["lost_output"] = lost
        self.manifest.finish("finished", self.outcome.exit_code)
        self.log.write("finished", exit_code=self.outcome.exit_code)

    def _verified(self) -> tuple[Finding, ...]:
        """With --verify: what in OUT is still not as it was written, once slides were scored again."""
        if not self.settings.verify:
            return ()
        wrong = verify_out(self.store.paths).wrong
        for found in wrong:
            self.log.write("wrong", level="error", path=found.path, reason=found.text)
            self.progress.warning(f"{found.path}: {found.text} {found.next_step}")
        return wrong


def _record_end(error: BaseException, manifest: Manifest, log: RunLog, cover: Cover | None) -> None:
    """Leave the truth about the end of the run; where the disk is full, the first error stays the one that is shown."""
    known = error if isinstance(error, MnbatchError) else as_storage_error(error)
    code = error.code if isinstance(error, Interrupted) else EXIT_INTERNAL if known is None else known.exit_code
    status = "interrupted" if isinstance(error, Interrupted) else "failed"
    # `status` says it, so it must hold no names either.
    said = known if known is None or cover is None else cover.error(known)
    try:
        log.write(status, level="error", error=error)
        manifest.finish(status, code, "" if said is None else said.message)
    except MnbatchError:
        return
