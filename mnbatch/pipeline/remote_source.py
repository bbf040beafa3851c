"""A slide read through worker processes; what a worker lost is an unreadable cell, or a field that is skipped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mnbatch.assay.cells import FileDigest, ReadItem, ReadTask, Slide, SourceFile, UnreadableCell
from mnbatch.assay.field_records import FieldReport
from mnbatch.assay.reasons import Named, Reason, say
from mnbatch.errors import SlideError, StorageError
from mnbatch.imaging.fields.field_survey import Survey
from mnbatch.imaging.identity import cell_id
from mnbatch.pipeline.opened_slides import unpacked
from mnbatch.pipeline.worker_messages import Opening
from mnbatch.pipeline.workers import HurriedError, WorkerPool, WorkLostError, opening_key

if TYPE_CHECKING:
    from mnbatch.imaging.fields.regions import RegionOverlaps

FILES_TOGETHER = 16
"""Crops that a worker reads with one message: enough for what a message costs, few enough to be read again."""

SMALL_FILE = 1 << 20
"""Bytes; a larger file is a piece of work of its own."""


class RemoteSource:
    """The cells of one slide; `read` is called from many threads, the rest from one.

    Args:
        pool: of the processes that decode.
        opening: the slide.

    Raises:
        SlideError: the slide cannot be opened.
    """

    def __init__(self, pool: WorkerPool, opening: Opening) -> None:
        self._pool = pool
        self._opening = opening
        self._key = opening_key()
        self._overlaps = _overlaps_of(opening.slide)
        self._survey: Survey[Any] | None = None
        self._costly = False
        try:
            self._tasks = list(self._ask("tasks"))
            self._shared = self._ask("contrast_range") if opening.slide.kind == "crops" else None
        except WorkLostError as lost:
            raise SlideError(
                say("slide-lost", slide=Named("slide", opening.slide.name), why=lost.reason), say("slide-lost-do")
            ) from lost
        if opening.slide.kind != "crops":
            looked_at = [task for task in self._tasks if getattr(task, "core", True) is not None]
            self._survey = Survey(looked_at, lambda task: self._ask("look", task))

    def tasks(self) -> Iterator[Any]:
        """Pieces of work, in order."""
        yield from self._tasks

    def read(self, task: Any) -> list[ReadItem]:
        """What a piece of work gives.

        Raises:
            SlideError: the slide as a whole cannot be used.
            HurriedError: the run stops.
        """
        shared = self._shared if self._survey is None else self._survey.traits()
        try:
            return self._read(task, shared)
        except WorkLostError as lost:
            if isinstance(task, ReadTask) and task.pages is not None and len(task.pages) > 1:
                return [item for page in task.pages for item in self._page(task, page, shared)]
            return self._lost(task, lost.reason)

    def runs(self) -> Iterator[tuple[Any, ...]]:
        """The pieces of work in order, small files together: one message for all of them."""
        together: list[Any] = []
        for task in self._tasks:
            if not self._is_small(task):
                yield from filter(None, (tuple(together), (task,)))
                together = []
                continue
            together.append(task)
            if len(together) == FILES_TOGETHER:
                yield tuple(together)
                together = []
        yield from filter(None, (tuple(together),))

    def read_together(self, tasks: Sequence[Any]) -> list[list[ReadItem]]:
        """What `read` gives for each, in one piece of work; nothing where that was lost, and each has to be read alone.

        Raises:
            HurriedError: the run stops.
        """
        if self._costly:
            return []
        try:
            return [unpacked(items) for items in self._ask("read_together", tuple(tasks), self._shared)]
        except (HurriedError, StorageError):
            raise
        except WorkLostError:
            # A slow share or a hostile file: the rest of the slide must not wait for a deadline with each message.
            self._costly = True
            return []
        except Exception:  # noqa: BLE001 - each is read alone next, and what is wrong is raised with its file
            return []

    def _is_small(self, task: Any) -> bool:
        plain = self._opening.slide.kind == "crops" and not self._opening.slide.namesakes
        return plain and task.pages is None and not task.planes and task.file.size <= SMALL_FILE

    def in_order(self, items: Sequence[ReadItem]) -> Sequence[ReadItem]:
        """The same, checked in the order of the tasks: what was found twice is dropped here."""
        return items if self._overlaps is None else self._overlaps.once(items)

    def _ask(self, operation: str, *arguments: Any) -> Any:
        return self._pool.ask(operation, *arguments, key=self._key, opening=self._opening)

    def _read(self, task: Any, shared: Any) -> list[ReadItem]:
        """Once more where the worker crashed: it may have suffered from what it read before."""
        try:
            return unpacked(self._ask("read", task, shared))
        except WorkLostError as lost:
            if not lost.crashed:
                raise
        return unpacked(self._ask("read", task, shared))

    def _page(self, task: ReadTask, page: int, shared: Any) -> list[ReadItem]:
        """One page of a run in which some page is at fault."""
        alone = replace(task, pages=(page,), hash_file=task.hash_file and page == (task.pages or (page,))[0])
        try:
            return self._read(alone, shared)
        except WorkLostError as lost:
            return self._lost(alone, lost.reason)

    def _lost(self, task: Any, reason: Reason) -> list[ReadItem]:
        slide = self._opening.slide
        if isinstance(task, ReadTask):
            digest = self._digest(task.file) if task.hash_file else ""
            pages: tuple[int | None, ...] = task.pages or (None,)
            planes = [FileDigest(file.path, self._digest(file)) for file in task.planes]
            return [*(_unreadable(slide, task, page, reason, digest) for page in pages), *planes]
        core = getattr(task, "core", (0, 0, 0, 0))
        if core is None:
            return [FileDigest(task.file.path, "")]
        left, top, right, bottom = core
        problem = say("region", left=left, top=top, why=reason) if slide.kind == "wsi" else reason
        digest = "" if slide.kind == "wsi" else self._digest(task.file)
        report = FieldReport(
            slide_id=slide.slide_id,
            source=task.file.path,
            page=None,
            left=left,
            top=top,
            width=right - left,
            height=bottom - top,
            problem=problem,
            file_digest=digest,
        )
        masks = [] if task.mask is None else [FileDigest(task.mask.path, self._digest(task.mask))]
        planes = [FileDigest(file.path, self._digest(file)) for file in getattr(task, "planes", ())]
        return [report, *masks, *planes]

    def _digest(self, file: SourceFile) -> str:
        """Of a file that could not be decoded; it can be hashed all the same, unless the disk is what hangs."""
        try:
            return str(self._ask("hash", file))
        except WorkLostError:
            return ""


def _overlaps_of(slide: Slide) -> RegionOverlaps | None:
    """Regions of a whole slide overlap; its module loads all that finds cells, which costs two seconds of a core."""
    if slide.kind != "wsi":
        return None
    from mnbatch.imaging.fields.regions import RegionOverlaps

    return RegionOverlaps()


def _unreadable(slide: Slide, task: ReadTask, page: int | None, reason: Reason, digest: str) -> UnreadableCell:
    path = task.file.path
    return UnreadableCell(slide.slide_id, cell_id(slide.slide_id, path, page), path, page, reason, file_digest=digest)
