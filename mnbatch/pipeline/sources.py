"""Where the cells of a slide come from: one interface for galleries, fields and whole slides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from mnbatch.assay.cells import ReadItem, ReadTask, Slide, SourceFile
from mnbatch.imaging.fields.options import FieldOptions
from mnbatch.imaging.preparation import Preparation
from mnbatch.imaging.readers import read_cells, read_tasks, slide_range


class Task(Protocol):
    """A piece of work: a file or a part of one."""

    @property
    def file(self) -> SourceFile:
        """The file that is read."""


class CellSource(Protocol):
    """The cells of one slide; `read` is called from many threads, the others from one."""

    def tasks(self) -> Iterator[Task]:
        """Pieces of work, in order."""

    def read(self, task: Any) -> list[ReadItem]:
        """What a piece of work gives; raises SlideError where the slide as a whole cannot be used."""

    def in_order(self, items: Sequence[ReadItem]) -> Sequence[ReadItem]:
        """The same, looked at in the order of the tasks: what was found twice is dropped here."""


class GallerySource:
    """A slide whose files (or pages) are crops."""

    def __init__(self, slide: Slide, preparation: Preparation) -> None:
        self._slide = slide
        self._preparation = preparation
        self._range = slide_range(slide, preparation)

    def tasks(self) -> Iterator[ReadTask]:
        """A file each, or runs of pages."""
        return read_tasks(self._slide)

    def read(self, task: ReadTask) -> list[ReadItem]:
        """Cells of a file."""
        return list(read_cells(task, self._preparation, self._range))

    def in_order(self, items: Sequence[ReadItem]) -> Sequence[ReadItem]:
        """All of them."""
        return items


def open_source(slide: Slide, preparation: Preparation, fields: FieldOptions) -> CellSource:
    """The source of a slide's cells.

    Raises:
        SlideError: the slide cannot be opened.
    """
    if slide.kind == "gallery":
        return GallerySource(slide, preparation)
    # scikit-image takes a second to load, which a gallery need not spend.
    from mnbatch.imaging.fields.regions import WholeSlideSource
    from mnbatch.imaging.fields.source import FieldSource

    return (WholeSlideSource if slide.kind == "wsi" else FieldSource)(slide, preparation, fields)
