"""From scored cells to committed slides: all of a slide, or nothing."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mnbatch.assay.cells import CellScore, ScoredItem, Slide, SlideEnd, UnreadableCell
from mnbatch.assay.fields import FieldReport
from mnbatch.assay.reasons import Named, say
from mnbatch.errors import SlideError
from mnbatch.inference.catalogue import ModelSet
from mnbatch.pipeline.field_tally import FieldTally
from mnbatch.pipeline.pending import call_rules, call_stamp, model_stamp, score_parts
from mnbatch.pipeline.reading import SlideJob
from mnbatch.results.keys import content_key, score_key, stat_key
from mnbatch.results.manifest import versions
from mnbatch.results.pseudonyms import Pseudonyms
from mnbatch.results.records import LeftOut, Scoring, SlideRecord
from mnbatch.results.store import Store
from mnbatch.results.writer import SlideWriter
from mnbatch.settings import RunSettings

if TYPE_CHECKING:
    from mnbatch.inference.classifier import Classifier


class Committer:
    """Takes scored cells, keeps one staged generation for each slide in flight, commits at each `SlideEnd`.

    Args:
        store: of OUT.
        settings: of the run.
        models: a slide that failed before it had a model is tried again when the digest of the whole set changes.
        jobs: slide_id -> what the reading learned; a slide's job is removed when the slide is finished.
        pseudonyms: codes in place of names in what is said of a failure, or None.
    """

    def __init__(
        self,
        store: Store,
        settings: RunSettings,
        models: ModelSet,
        jobs: dict[str, SlideJob],
        pseudonyms: Pseudonyms | None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._models = models
        self._jobs = jobs
        self._pseudonyms = pseudonyms
        self._writers: dict[str, SlideWriter] = {}
        self._tallies: dict[str, FieldTally] = {}
        self._again: list[SlideJob] = []

    def take(self, item: ScoredItem) -> tuple[SlideJob, SlideRecord] | None:
        """Take one item; returns job and record of a slide that this item finished."""
        if isinstance(item, SlideEnd):
            job = self._jobs.pop(item.slide_id)
            if job.again and job.error is None:
                self._put_back(job)
                return None
            return job, self._finish(job, item)
        self._add(item)
        return None

    def again(self) -> list[SlideJob]:
        """Jobs for the slides that have to be read once more, since the last call; with the look to read them with."""
        jobs, self._again = self._again, []
        return jobs

    def _put_back(self, job: SlideJob) -> None:
        writer = self._writers.pop(job.slide.slide_id, None)
        self._tallies.pop(job.slide.slide_id, None)
        if writer is not None:
            writer.abandon()
        self._again.append(SlideJob(job.slide, job.why, given=job.look))

    def abandon(self) -> None:
        """Drop what is staged of unfinished slides."""
        for writer in self._writers.values():
            writer.abandon()
        self._writers.clear()

    def _add(self, item: CellScore | UnreadableCell | FieldReport) -> None:
        slide_id = _slide_id(item)
        job = self._jobs[slide_id]
        if job.error is not None:
            return
        if slide_id not in self._writers:
            self._writers[slide_id] = self._store.writer(slide_id, keep_gallery=self._settings.keep_gallery)
        if isinstance(item, FieldReport):
            self._tallies.setdefault(slide_id, FieldTally(self._settings.cells)).add(item)
            self._writers[slide_id].add_field(item)
        else:
            self._writers[slide_id].add(item)

    def _finish(self, job: SlideJob, end: SlideEnd) -> SlideRecord:
        writer = self._writers.pop(job.slide.slide_id, None)
        tally = self._tallies.pop(job.slide.slide_id, None)
        if self._pseudonyms is not None:
            self._pseudonyms.keep()
        error = end.error or job.error
        if error is not None and self._pseudonyms is not None:
            error = self._pseudonyms.failure(job.slide, error)
        if error is None and tally is not None and writer is not None:
            error = tally.failure(job.slide.name, writer.cells)
        if error is None and (writer is None or job.classifier is None):
            error = SlideError(say("no-cell", slide=Named("slide", job.slide.name)), say("no-cell-do"))
        if error is not None:
            if writer is not None:
                writer.abandon()
            record = failed_record(job, error, self._settings, self._models)
            if tally is not None:
                record = record.model_copy(update={"fields": tally.stamp()})
            self._store.put_record(record)
            return record
        assert writer is not None
        assert job.classifier is not None
        with writer:
            record = self._scored_record(job, job.classifier, writer)
            if tally is not None:
                record = record.model_copy(
                    update={"fields": tally.stamp(), "warnings": (*record.warnings, *tally.warnings())}
                )
            return writer.commit(record)

    def _scored_record(self, job: SlideJob, classifier: Classifier, writer: SlideWriter) -> SlideRecord:
        settings, model = self._settings, classifier.model
        content = _content_key(job)
        parts = score_parts(job.slide, content, model.digest, self._models, settings)
        key = score_key(parts)
        rules = call_rules(model.card.threshold, settings)
        warnings: tuple[str, ...] = ()
        if writer.unreadable:
            warnings = (f"{writer.unreadable} of {writer.cells} cells could not be read",)
        return _common(job, settings).model_copy(
            update={
                "unread": tuple(i for i, file in enumerate(job.slide.everything) if file.path in job.unread),
                "content_key": content,
                "score_key": key,
                "parts": parts,
                "call": call_stamp(key, rules),
                "model": model_stamp(model.card, model.digest),
                "scored": _scoring(job, classifier),
                "warnings": warnings,
            }
        )


def failed_record(job: SlideJob, error: SlideError, settings: RunSettings, models: ModelSet) -> SlideRecord:
    """The record of a slide that could not be scored."""
    content = _content_key(job)
    return _common(job, settings).model_copy(
        update={
            "status": "failed",
            "reason": error.message,
            "next_step": error.next_step,
            "transient": error.transient or job.cause is not None,
            "content_key": content,
            "parts": score_parts(job.slide, content, models.digest, models, settings),
        }
    )


def copy_record(slide: Slide, settings: RunSettings) -> SlideRecord:
    """The record of a slide whose files are byte-identical to another's."""
    return _common(SlideJob(slide, "copy"), settings).model_copy(
        update={"status": "copy", "copy_of": slide.copy_of, "reason": f"copy of {slide.copy_of}, counted there"}
    )


def readable_text(text: str) -> str:
    """Text that can be written as UTF-8: bytes of a file name that are none are shown as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _common(job: SlideJob, settings: RunSettings) -> SlideRecord:
    slide = job.slide
    return SlideRecord(
        slide_id=slide.slide_id,
        name=readable_text(slide.name),
        path=readable_text(slide.path),
        donor=None if slide.donor is None else readable_text(slide.donor),
        layout=slide.layout,
        status="scored",
        pseudonymised=settings.pseudonymise,
        look=job.look,
        looks=dict(sorted(job.looks.items())),
        stat_key=stat_key(slide.everything),
        input=slide.kind,
        skipped=tuple(LeftOut(path=readable_text(s.path), reason=s.reason) for s in slide.skipped),
    )


def _content_key(job: SlideJob) -> str:
    return content_key({file.path: job.file_digests.get(file.path, "") for file in job.slide.everything})


def _scoring(job: SlideJob, classifier: Classifier) -> Scoring:
    finished = time.time()
    known = versions()
    return Scoring(
        device=classifier.device_name,
        precision=classifier.precision,
        minibatch=classifier.minibatch,
        maps=classifier.maps,
        mnbatch=known["mnbatch"],
        torch=known.get("torch", ""),
        started=_iso(job.started),
        finished=_iso(finished),
        seconds=round(finished - job.started, 3),
    )


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _slide_id(item: CellScore | UnreadableCell | FieldReport) -> str:
    return item.crop.slide_id if isinstance(item, CellScore) else item.slide_id
