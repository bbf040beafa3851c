"""From pending slides to one ordered stream of cells, each with the classifier of its slide."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mnbatch.assay.cells import CellCrop, FileDigest, ReadItem, Slide, SlideEnd, Stain, StreamItem
from mnbatch.assay.field_records import InputKind
from mnbatch.assay.reasons import Foreign, Named, foreign_os, say
from mnbatch.assay.stains import likely_stain, mixture, slide_stain
from mnbatch.errors import MnbatchError, SlideError
from mnbatch.files import as_storage_error
from mnbatch.imaging.crop_scenes import CropScenes
from mnbatch.imaging.fields.field_options import FieldOptions
from mnbatch.imaging.fields.field_scenes import FieldScenes
from mnbatch.imaging.preparation import Preparation
from mnbatch.inference.prefetch import ordered_map
from mnbatch.pipeline.image_forms import ImageForms
from mnbatch.pipeline.remote_source import RemoteSource
from mnbatch.pipeline.sources import Task
from mnbatch.pipeline.worker_messages import Opening
from mnbatch.pipeline.workers import HurriedError, WorkerPool
from mnbatch.processes import available_cores
from mnbatch.results.pseudonyms import Pseudonyms

if TYPE_CHECKING:
    from mnbatch.inference.classifier import Classifier

STAIN_SAMPLE = 24
"""Readable cells that are examined before a slide is given a model. It is checked when all cells are known."""

AHEAD_PER_WORKER = {"crops": 3, "fields": 2, "wsi": 2}
"""Decoded pieces of work that may wait for the network, a worker: enough to bridge one minibatch, bounded for memory.
Of crops a piece is up to 8 files; a field holds as many cells as a hundred files of crops."""


@dataclass(slots=True)
class SlideJob:
    """What is learned of a slide while its cells pass by.

    Attributes:
        why: why it is scored.
        file_digests: path -> SHA-256, "" where a file could not be read.
        unread: paths that an I/O error kept from being read.
        given: stain by which its model is chosen, known from an earlier pass; None chooses by the first cells.
        stains: stain -> readable cells so far.
        stains: stain -> readable cells; colourless: cells that lack the colour by which the network tells stains apart.
        stain: recognised (or forced) stain, known when all cells have come.
        classifier: scores the slide's cells, once chosen.
        unserved: the stain that its first cells show has no model: its cells are only examined, not scored.
        again: its cells have not been scored by the model of its stain; it has to be read once more.
        error: the first thing that makes the slide unusable; its later cells are dropped.
        cause: the unexpected exception behind `error`, for the log.
        forms: sizes and contents of its images.
        scenes: which of its images show the same.
    """

    slide: Slide
    why: str
    file_digests: dict[str, str] = field(default_factory=dict)
    unread: set[str] = field(default_factory=set)
    given: Stain | None = None
    stains: Counter[Stain] = field(default_factory=Counter)
    colourless: int = 0
    stain: Stain | None = None
    classifier: Classifier | None = None
    unserved: bool = False
    again: bool = False
    error: SlideError | None = None
    cause: BaseException | None = None
    forms: ImageForms = field(init=False)
    scenes: FieldScenes | CropScenes = field(init=False)
    started: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        """Nothing is known of its images yet."""
        self.forms = ImageForms(self.slide.kind)
        self.scenes = FieldScenes() if self.slide.kind == "fields" else CropScenes(self.slide.kind)


@dataclass(frozen=True, slots=True)
class _Work:
    job: SlideJob
    source: RemoteSource | None
    tasks: tuple[Task, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """How cells are read: one preparation for the whole run.

    Attributes:
        classifier_for: gives the classifier of a stain; raises SlideError where no model serves it.
        any_look: a stain that some model serves, for slides that show none.
        stain: forced stain, or None to recognise each slide's stain.
        stop: checked before each piece of work.
        kind: what the export holds.
        fields: how cells are found in fields and whole slides.
        pool: the processes that decode, `workers` of them.
    """

    preparation: Preparation
    classifier_for: Callable[[Stain], Classifier]
    any_stain: Stain
    stain: Stain | None
    keep_crops: bool
    pseudonyms: Pseudonyms | None
    workers: int
    stop: Callable[[], bool]
    kind: InputKind
    fields: FieldOptions
    pool: WorkerPool

    def stream(self, jobs: Iterable[SlideJob]) -> Iterator[tuple[SlideJob, list[StreamItem]]]:
        """Cells of all slides in order, some of a slide at a time, a `SlideEnd` after those of each slide; the first
        one to fail ends its slide."""
        ahead = AHEAD_PER_WORKER[self.kind] * self.workers
        waiting: list[StreamItem] = []
        for work, pieces in ordered_map(self._read, self._work(jobs), self.workers, ahead):
            if pieces is None:
                return
            job, ends = work.job, not work.tasks
            for items in pieces:
                waiting += self._taken(work, items)
            if ends:
                with one_slide(job):
                    self._settle_look(job)
                yield job, [*_wanted(job, waiting), SlideEnd(job.slide.slide_id, job.error)]
                waiting = []
            elif job.classifier is not None or job.unserved:
                yield job, _wanted(job, waiting)
                waiting = []

    def _taken(self, work: _Work, items: Sequence[ReadItem]) -> list[StreamItem]:
        """Items of one file, noted in its slide; its first cells choose the model."""
        job = work.job
        if job.error is not None or work.source is None:
            return []
        taken: list[StreamItem] = []
        with one_slide(job):
            taken = self._note(job, job.scenes.once(work.source.in_order(items)))
        if job.classifier is None and not job.unserved and job.stains.total() >= STAIN_SAMPLE:
            self._choose_model(job)
        return taken

    def _work(self, jobs: Iterable[SlideJob]) -> Iterator[_Work]:
        for job in jobs:
            if self.stop():
                return
            try:
                if job.slide.refused is not None:
                    raise SlideError(*job.slide.refused)
                with one_slide(job):
                    source = RemoteSource(self.pool, Opening(job.slide, self.preparation, self.fields, self.keep_crops))
                    for tasks in source.runs():
                        if self.stop():
                            return
                        if job.error is not None:
                            break
                        yield _Work(job, source, tasks)
            except OSError as error:
                job.error = job.error or _unreachable(job.slide, error)
            except SlideError as error:
                job.error = job.error or error
            except HurriedError:
                return
            yield _Work(job, None, ())

    def _read(self, work: _Work) -> tuple[_Work, list[list[ReadItem]] | None]:
        """Runs in a thread that waits for a worker process; None for what was given up because the run stops."""
        if work.source is None or work.job.error is not None:
            return work, []
        try:
            done = work.source.read_together(work.tasks) if len(work.tasks) > 1 else []
            # What was lost together is read file by file: one that is at fault costs no other.
            return work, [*done, *(self._alone(work.job, work.source, task) for task in work.tasks[len(done) :])]
        except HurriedError:
            return work, None

    def _alone(self, job: SlideJob, source: RemoteSource, task: Task) -> list[ReadItem]:
        """What one piece of work gives; nothing once its slide has failed."""
        if job.error is not None:
            return []
        try:
            with one_slide(job, Named("file", task.file.path)):
                return source.read(task)
        except OSError as error:
            job.error = _unreachable(job.slide, error)
        except SlideError as error:
            job.error = error
        return []

    def _note(self, job: SlideJob, items: Iterable[ReadItem]) -> list[StreamItem]:
        noted: list[StreamItem] = []
        for item in items:
            if item.file_digest:
                job.file_digests[item.source] = item.file_digest
            if isinstance(item, FileDigest):
                continue
            job.forms.note(item)
            if isinstance(item, CellCrop):
                job.stains[item.stain] += 1
                job.colourless += item.colourless
            elif item.transient:
                job.unread.add(item.source)
            noted.append(item if self.pseudonyms is None else self.pseudonyms.coded(item))
        return noted

    @property
    def _each_its_own(self) -> bool:
        """A person said that each file is a cell or field of its own."""
        return self.fields.names == "plain"

    def _choose_model(self, job: SlideJob) -> None:
        """By what most of its first cells show; the end of the slide tells whether that is its stain."""
        stain = self.stain or job.given or likely_stain(job.stains)
        try:
            job.classifier = self.classifier_for(self.any_stain if stain == "unknown" else stain)
        except SlideError:
            job.unserved = True

    def _settle_look(self, job: SlideJob) -> None:
        """Decide by all cells what the slide's stain is, and whether they were scored by the model for it."""
        if job.error is not None:
            return
        job.error = job.forms.trouble() or (None if self._each_its_own else job.scenes.trouble())
        if job.error is not None:
            return
        seen = "" if self.stain else mixture(job.stains)
        if seen:
            job.error = _two_stains(seen)
            return
        if job.stains:
            job.stain = self.stain or slide_stain(job.stains)
        try:
            # Without a readable cell the call fails the slide with the count, whichever model would have served it.
            right = self.classifier_for(job.stain or self.stain or self.any_stain)
        except SlideError as error:
            job.error = error
            return
        if job.classifier is None and not job.unserved:
            job.classifier = right
        elif job.classifier is not right and job.given is not None:
            job.error = _changed(job.slide)
        else:
            job.again = job.classifier is not right


@contextlib.contextmanager
def one_slide(job: SlideJob, file: Named | None = None) -> Iterator[None]:
    """The one broad net round a slide: what goes wrong in a way that nobody foresaw fails that slide, the others go on.

    Args:
        file: that is worked on.
    """
    try:
        yield
    except (MnbatchError, HurriedError, OSError):
        raise
    except Exception as error:  # whatever it is, it must not cost the batch
        if file is None and (fault := as_storage_error(error)) is not None:
            raise fault from error  # a full disk is no fault of the slide
        kind, text = type(error).__name__, Foreign(str(error), "see the log")
        if file is not None:
            why = say("reading-failed", file=file, kind=kind, error=text)
        else:
            why = say("slide-failed", slide=Named("slide", job.slide.name), kind=kind, error=text)
        job.cause, job.error = error, job.error or SlideError(why, say("slide-failed-do"))


def default_workers() -> int:
    """Processes that decode: one a core that this process may use, at most 16."""
    return max(1, min(16, available_cores()))


def _wanted(job: SlideJob, items: list[StreamItem]) -> list[StreamItem]:
    """Those items that are of use; crops that no right model scores are not."""
    if job.error is not None:
        return []
    return [item for item in items if not isinstance(item, CellCrop)] if job.again or job.unserved else items


def _unreachable(slide: Slide, error: OSError) -> SlideError:
    return SlideError(
        say("unreachable", slide=Named("slide", slide.name), error=foreign_os(error)),
        say("unreachable-do"),
        transient=True,
    )


def _two_stains(seen: str) -> SlideError:
    return SlideError(
        say("two-stains", seen=seen),
        say("two-stains-do"),
    )


def _changed(slide: Slide) -> SlideError:
    return SlideError(
        say("stain-changed", slide=Named("slide", slide.name)),
        say("stain-changed-do"),
        transient=True,
    )
