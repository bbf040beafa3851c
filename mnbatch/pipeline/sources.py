"""Where the cells of a slide come from: one interface for galleries, fields and whole slides.

A `WorkerSource` decodes, in a worker process. What the run sees of it is a
`mnbatch.pipeline.remote_source.RemoteSource`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from mnbatch.assay.cells import FileDigest, ReadItem, ReadTask, Slide, SourceFile
from mnbatch.assay.page_options import NO_OPTIONS, PageOptions
from mnbatch.imaging.fields.field_options import FieldOptions
from mnbatch.imaging.fields.field_survey import Seen
from mnbatch.imaging.formats.folder_images import digest_of
from mnbatch.imaging.formats.loading import load
from mnbatch.imaging.formats.pixels import Decoded
from mnbatch.imaging.namesakes import check_namesake
from mnbatch.imaging.preparation import Preparation
from mnbatch.imaging.readers import read_cells, read_tasks, read_together, slide_range


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

    def read_together(self, tasks: Sequence[ReadTask], shared: tuple[float, float] | None) -> list[list[ReadItem]]:
        """What `read` gives for each of some files of one picture, cheaper."""
        return [list(items) for items in read_together(tasks, self._preparation, shared)]


class ComparedSource:
    """A source of which images that differ from its files in their extension alone are compared with these.

    Args:
        slide: with namesakes.
    """

    def __init__(self, source: WorkerSource, slide: Slide, pages: PageOptions) -> None:
        self._source = source
        self._slide = slide
        self._pages = pages
        self._namesakes: dict[str, list[SourceFile]] = {}
        for companion in slide.namesakes:
            self._namesakes.setdefault(companion.of, []).append(companion.file)

    def tasks(self) -> Sequence[Task]:
        """Those of the source."""
        return self._source.tasks()

    def contrast_range(self) -> tuple[float, float] | None:
        """That of the source, which has one for crops."""
        return self._source.contrast_range() if isinstance(self._source, CropSource) else None

    def look(self, task: Any) -> Seen:
        """What the source says."""
        return self._source.look(task)

    def read(self, task: Any, shared: Any) -> list[ReadItem]:
        """What the source gives; raises SlideError where a namesake shows something else."""
        items = self._source.read(task, shared)
        if isinstance(task, ReadTask) and not task.hash_file:
            return items
        digests = [self._compared(task, file) for file in self._namesakes.get(task.file.path, ())]
        return [*items, *digests]

    def _compared(self, task: Any, file: SourceFile) -> FileDigest:
        return check_namesake(self._slide.root, file, task.file, self._pictures(task))

    def _pictures(self, task: Any) -> Iterator[Decoded]:
        if isinstance(task, ReadTask):
            yield from (page.decoded for page in load(task)[1] if page.decoded is not None)
            return
        from mnbatch.imaging.fields.field_images import load_fields

        images = load_fields(os.path.join(self._slide.root, task.file.path), self._pages)[1]
        yield from (image.pixels for image in images if image.pixels is not None)


def open_source(slide: Slide, preparation: Preparation, fields: FieldOptions) -> WorkerSource:
    """The source of a slide's cells.

    Raises:
        SlideError: the slide cannot be opened.
    """
    source = _source_of(slide, preparation, fields)
    return ComparedSource(source, slide, fields.page_options) if slide.namesakes else source


def _source_of(slide: Slide, preparation: Preparation, fields: FieldOptions) -> WorkerSource:
    """Without a look at namesakes.

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
        return digest_of(os.path.join(slide.root, file.path)).hex()
    except OSError:
        return ""
