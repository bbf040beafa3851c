"""A whole slide as a source of cells: overlapping regions, each cell counted in one of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from mnbatch.assay.cells import ReadItem, Slide, SourceFile
from mnbatch.assay.reasons import foreign, say
from mnbatch.imaging.decoding import UndecodableError
from mnbatch.imaging.fields.finding import look_at
from mnbatch.imaging.fields.images import FieldImage
from mnbatch.imaging.fields.options import FieldOptions
from mnbatch.imaging.fields.seams import REACH
from mnbatch.imaging.fields.source import FieldSource, crop_width, hashed
from mnbatch.imaging.fields.survey import Seen, SlideTraits
from mnbatch.imaging.fields.tasks import RegionTask
from mnbatch.imaging.fields.whole import WholeImage, open_whole
from mnbatch.imaging.preparation import Preparation

CORE = 1536
"""Pixels a side of the part of a region whose cells are counted in it; the cores tile the slide."""

LEAST_MARGIN = 128
"""Pixels round the core that are read with it; at least a crop's width, so that no crop is cut by a region."""


class WholeSlideSource(FieldSource):
    """The regions of one whole slide.

    Raises:
        SlideError: it cannot be opened.
    """

    def __init__(self, slide: Slide, preparation: Preparation, options: FieldOptions) -> None:
        super().__init__(slide, preparation, options)
        self._images: dict[str, WholeImage] = {
            file.path: open_whole(self._path(file), slide.name, options.channel) for file in slide.files
        }
        self._regions = [task for file in slide.files for task in _cores(file, self._images[file.path])]

    def tasks(self) -> list[RegionTask]:  # type: ignore[override]
        """The files, to be hashed, then the regions in reading order."""
        return [*(RegionTask(file, None) for file in self._slide.everything), *self._regions]

    def look(self, task: RegionTask) -> Seen:  # type: ignore[override]
        """What a region tells of its slide."""
        assert task.core is not None
        return look_at(self._region(task, task.core, 0), None, self._options)

    def read(self, task: RegionTask, shared: SlideTraits) -> list[ReadItem]:  # type: ignore[override]
        """Crops and report of a region; the digest of a file."""
        if task.core is None:
            return [hashed(self._slide, task.file)]
        image = self._region(task, task.core, self._margin(task, shared))
        return list(self._field(task, image, shared, ""))

    def _margin(self, task: RegionTask, traits: SlideTraits) -> int:
        given = self._slide.um_per_pixel or self._options.um_per_pixel or self._images[task.file.path].um
        width = crop_width(self._options, traits.nucleus_diameter or 0.0, given) or 0
        return max(LEAST_MARGIN, width)

    def _region(self, task: RegionTask, core: tuple[int, int, int, int], margin: int) -> FieldImage:
        whole = self._images[task.file.path]
        left, top = max(0, core[0] - margin), max(0, core[1] - margin)
        right, bottom = min(whole.width, core[2] + margin), min(whole.height, core[3] + margin)
        reach = (core[0] - REACH, core[1] - REACH, core[2] + REACH, core[3] + REACH)
        image = FieldImage(None, None, whole.um, left=left, top=top, core=reach, size=(bottom - top, right - left))
        try:
            pixels = whole.read(left, top, right - left, bottom - top)
        except UndecodableError as error:
            return replace(image, problem=say("region", left=left, top=top, why=foreign(error)))
        if pixels.min() == pixels.max():
            return replace(image, problem=say("region-empty"))
        return replace(image, pixels=pixels)


def _cores(file: SourceFile, whole: WholeImage) -> Iterator[RegionTask]:
    """Cores that tile a slide, of nearly equal size."""
    rows, columns = math.ceil(whole.height / CORE), math.ceil(whole.width / CORE)
    for row, column in product(range(rows), range(columns)):
        x0, x1 = column * whole.width // columns, (column + 1) * whole.width // columns
        y0, y1 = row * whole.height // rows, (row + 1) * whole.height // rows
        yield RegionTask(file, (x0, y0, x1, y1))
