"""Where the cells of a slide come from: one interface for galleries, fields and whole slides.

A `WorkerSource` decodes, in a worker process. What the run sees of it is a
`mnbatch.pipeline.remote_source.RemoteSource`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any, Protocol

from mnbatch.assay.cells import FileDigest, ReadItem, ReadTask, Slide, SourceFile
from mnbatch.assay.page_options import NO_OPTIONS, PageOptions
from mnbatch.imaging.fields.field_options import FieldOptions
from mnbatch.imaging.fields.field_survey import Seen
from mnbatch.imaging.preparation import Preparation
from mnbatch.imaging.readers import read_cells, read_tasks, slide_range


class Task(Protocol):
    """A piece of work: a file or a part of one."""

    @property
    def file(self) -> SourceFile:
        """The file that is read."""


class WorkerSource(Protocol):
    """The cells of one slide, in a worker process."""

    def tasks(self) -> Sequence[Task]:
        """Pieces of work, in order."""

    def look(self, task: Any) -> Seen:
        """What a field tells of its slide."""

    def read(self, task: Any, shared: Any) -> list[ReadItem]:
        """What a piece of work gives; raises SlideError where the slide as a whole cannot be used.

        Args:
            shared: what all pieces need to know of the slide: the `contrast_range` of crops, or what a `Survey` of its
                fields found.
        """


class CropSource:
    """A slide whose files (or pages) are crops."""

    def __init__(self, slide: Slide, preparation: Preparation, pages: PageOptions = NO_OPTIONS) -> None:
        self._slide = slide
        self._preparation = preparation
        self._pages = pages

    def tasks(self) -> list[ReadTask]:
        """A file each, or runs of pages; raises SlideError where nobody says what pages are."""
        return list(read_tasks(self._slide, self._pages))

    def contrast_range(self) -> tuple[float, float] | None:
        """Over all of the slide, where the model's card asks for it."""
        return slide_range(self._slide, self._preparation, self._pages)

    def look(self, task: ReadTask) -> Seen:
        """Nothing: crops have the scale they were exported with."""
        return Seen()

    def read(self, task: ReadTask, shared: tuple[float, float] | None) -> list[ReadItem]:
        """Cells of a file; of a cell with several focal planes also the digests of their files."""
        planes = [FileDigest(file.path, hash_of(self._slide, file)) for file in task.planes]
        return [*read_cells(task, self._preparation, shared), *planes]


def open_source(slide: Slide, preparation: Preparation, fields: FieldOptions) -> WorkerSource:
    """The source of a slide's cells.

    Raises:
        SlideError: the slide cannot be opened.
    """
    if slide.kind == "crops":
        return CropSource(slide, preparation, fields.page_options)
    # scikit-image takes a second to load, which crops need not cost.
    from mnbatch.imaging.fields.field_source import FieldSource
    from mnbatch.imaging.fields.regions import WholeSlideSource

    return (WholeSlideSource if slide.kind == "wsi" else FieldSource)(slide, preparation, fields)


def hash_of(slide: Slide, file: SourceFile) -> str:
    """SHA-256 of a file's content, hex; "" where it cannot be read."""
    try:
        with open(os.path.join(slide.root, file.path), "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""
