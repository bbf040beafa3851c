"""From scored cells to committed slides: all of a slide, or nothing."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mnbatch.assay.cells import CellScore, ScoredItem, Slide, SlideEnd, UnreadableCell
from mnbatch.assay.field_records import CellsWanted, FieldReport
from mnbatch.assay.reasons import Named, say
from mnbatch.errors import SlideError
from mnbatch.imaging.name_tokens import PLAIN
from mnbatch.pipeline.planning import Stamps, model_stamp
from mnbatch.pipeline.reading import SlideJob, one_slide
from mnbatch.results.keys import content_key, score_key, stat_key
from mnbatch.results.manifest import versions
from mnbatch.results.pseudonyms import Pseudonyms
from mnbatch.results.records import FieldsStamp, LeftOut, Scoring, SlideRecord
from mnbatch.results.store import Store
from mnbatch.results.writer import SlideWriter
from mnbatch.settings import RunSettings

if TYPE_CHECKING:
    from mnbatch.inference.classifier import Classifier


# What the fields of a slide held, counted while they pass by; and when a slide of fields is no result.
#
# Problems of fields come here with their names coded already, where they are to be.


MOST_SKIPPED = 0.5
"""A slide of which a larger share of its fields cannot be used fails: what is left is no fair sample of it."""

_SHOWN = 3
_WANTED = {"binucleated": "binucleated cell", "all": "nucleus"}


class FieldTally:
    """Counts of one slide.

    Args:
        cells: which cells are scored.
    """

    def __init__(self, cells: CellsWanted) -> None:
        self._cells: CellsWanted = cells
        self._fields = self._empty = 0
        self._skipped: list[LeftOut] = []
        self._emptiness: Counter[str] = Counter()
        self._transient = False
        self._classes: Counter[str] = Counter()
        self._not_scored: Counter[str] = Counter()
        self._um: float | None = None

    def add(self, report: FieldReport) -> None:
        """Count one field."""
        self._fields += 1
        self._empty += report.empty
        if report.emptiness:
            self._emptiness[report.emptiness] += 1
        if report.problem:
            self._skipped.append(LeftOut(path=_name(report), reason=report.problem))
            self._transient = self._transient or report.transient
        for cell in report.cells:
            self._classes[cell.cell_class] += 1
            self._um = self._um or cell.um_per_pixel
            if cell.reason:
                self._not_scored[cell.reason] += 1

    def stamp(self) -> FieldsStamp:
        """The counts as the record keeps them."""
        return FieldsStamp(
            cells=self._cells,
            fields=self._fields,
            empty=self._empty,
            skipped=tuple(self._skipped),
            classes=dict(self._classes.most_common()),
            not_scored=dict(self._not_scored.most_common()),
            um_per_pixel=self._um,
        )

    def failure(self, name: str, scored: int) -> SlideError | None:
        """Why the slide gives no result; None where it gives one.

        Args:
            name: of the slide.
            scored: cells that were cut from it.
        """
        bad, slide = len(self._skipped), Named("slide", name)
        if bad > MOST_SKIPPED * self._fields:
            return SlideError(
                say("fields-unusable", bad=bad, fields=self._fields, slide=slide, why=self._why_skipped()),
                say("fields-unusable-do"),
                transient=self._transient,
            )
        if scored:
            return None
        classes = "; ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in self._classes.most_common())
        found = classes or _commonest(self._emptiness) or "none"
        return SlideError(
            say("nothing-found", wanted=_WANTED[self._cells], fields=self._fields, slide=slide, found=found),
            say("nothing-found-do"),
            transient=self._transient,
        )

    def warnings(self) -> tuple[str, ...]:
        """What a reader of the slide's number must know."""
        said = []
        if self._skipped:
            said.append(f"{len(self._skipped)} of {self._fields} fields were skipped: {self._why_skipped()}")
        if self._cells == "all":
            said.append(
                "scored with --cells all: every main nucleus counts as a cell, whether binucleated or not; read "
                "BN cells as cells and MNBN as cells with MN. The literature's background does not apply"
            )
        return tuple(said)

    def _why_skipped(self) -> str:
        return _commonest(Counter(left.reason for left in self._skipped))


def _commonest(reasons: Counter[str]) -> str:
    text = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(_SHOWN))
    return text + ("; ..." if len(reasons) > _SHOWN else "")


def _name(report: FieldReport) -> str:
    source = report.source.encode("utf-8", "backslashreplace").decode()
    return source if report.page is None else f"{source}#{report.page}"


# From scored cells to committed slides: all of a slide, or nothing.


class Committer:
    """Takes scored cells, keeps one staged generation for each slide in flight, commits at each `SlideEnd`.

    Args:
        store: of OUT.
        stamps: of the run; a slide that failed before it had a model is tried again when the digest of the whole set
            of models changes.
        jobs: slide_id -> what the reading learned; a slide's job is removed when the slide is finished.
        pseudonyms: codes in place of names in the reason of a failure, or None.
    """

    def __init__(
        self,
        store: Store,
        stamps: Stamps,
        jobs: dict[str, SlideJob],
        pseudonyms: Pseudonyms | None,
    ) -> None:
        self._store = store
        self._stamps = stamps
        self._settings = stamps.settings
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
            with one_slide(job):
                return job, self._finish(job, item)
            return job, self._finish(job, SlideEnd(item.slide_id, job.error))
        with one_slide(self._jobs[_slide_id(item)]):
            self._add(item)
        return None

    def again(self) -> list[SlideJob]:
        """Jobs for the slides that have to be read once more, since the last call; with the stain to read them with."""
        jobs, self._again = self._again, []
        return jobs

    def _put_back(self, job: SlideJob) -> None:
        writer = self._writers.pop(job.slide.slide_id, None)
        self._tallies.pop(job.slide.slide_id, None)
        if writer is not None:
            writer.abandon()
        self._again.append(SlideJob(job.slide, job.why, given=job.stain))

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
            self._writers[slide_id] = self._store.writer(slide_id, keep_crops=self._settings.keep_crops)
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
            record = failed_record(job, error, self._stamps)
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
                    update={
                        "fields": tally.stamp(),
                        "warnings": (*record.warnings, *tally.warnings(), *job.scenes.warnings()),
                    }
                )
            return writer.commit(record)

    def _scored_record(self, job: SlideJob, classifier: Classifier, writer: SlideWriter) -> SlideRecord:
        model = classifier.model
        content = _content_key(job)
        parts = self._stamps.parts(job.slide, content, model.digest)
        key = score_key(parts)
        warnings: tuple[str, ...] = ()
        if writer.unreadable:
            warnings = (f"{writer.unreadable} of {writer.cells} cells could not be read",)
        if job.colourless:
            warnings = (*warnings, say("colourless", colourless=job.colourless, cells=job.stains.total()))
        return _common(job, self._settings).model_copy(
            update={
                "unread": tuple(i for i, file in enumerate(job.slide.everything) if file.path in job.unread),
                "content_key": content,
                "score_key": key,
                "parts": parts,
                "call": self._stamps.call(key, model.card),
                "model": model_stamp(model.card, model.digest),
                "scored": _scoring(job, classifier),
                "warnings": warnings,
            }
        )


def failed_record(job: SlideJob, error: SlideError, stamps: Stamps) -> SlideRecord:
    """The record of a slide that could not be scored."""
    content = _content_key(job)
    return _common(job, stamps.settings).model_copy(
        update={
            "status": "failed",
            "reason": error.message,
            "next_step": error.next_step,
            "transient": error.transient or job.cause is not None,
            "content_key": content,
            "parts": stamps.parts(job.slide, content, stamps.models.digest),
        }
    )


def copy_record(slide: Slide, settings: RunSettings) -> SlideRecord:
    """The record of a slide whose files are byte-identical to another's."""
    return _common(SlideJob(slide, "copy"), settings).model_copy(
        update={"status": "copy", "copy_of": slide.copy_of, "reason": f"copy of {slide.copy_of}, counted there"}
    )


def unscored_record(slide: Slide, settings: RunSettings) -> SlideRecord:
    """A record that says of a slide where it is and whose, for a status of its own to be set."""
    return _common(SlideJob(slide, ""), settings)


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
        stain=job.stain,
        stains=dict(sorted(job.stains.items())),
        colourless=job.colourless,
        stat_key=stat_key(slide.everything),
        input=slide.kind,
        each_its_own=settings.stated_names == PLAIN,
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
