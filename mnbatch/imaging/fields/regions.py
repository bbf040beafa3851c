"""A whole slide as a source of cells: overlapping regions, each cell counted in one of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

from mnbatch.assay.cells import CellCrop, ReadItem, Slide, SourceFile, UnreadableCell
from mnbatch.assay.field_records import FieldReport, FoundAt
from mnbatch.assay.reasons import foreign, say
from mnbatch.imaging.fields.field_images import FieldImage
from mnbatch.imaging.fields.field_options import FieldOptions, RegionTask
from mnbatch.imaging.fields.field_pages import check_no_cytoplasm
from mnbatch.imaging.fields.field_source import FieldSource, crop_width, hashed
from mnbatch.imaging.fields.field_survey import Seen, SlideTraits
from mnbatch.imaging.fields.finding import look_at
from mnbatch.imaging.formats.size_limits import UndecodableError
from mnbatch.imaging.formats.whole_slides import WholeImage, open_scans
from mnbatch.imaging.preparation import Preparation

# Regions of a whole slide overlap; a cell that two of them show is counted once.


REACH = 8
"""Pixels by which cores overlap: a cell on a seam, whose centre comes out a little different in two regions, is found
at least once; in the second of them it is dropped."""

_SAME = 0.35
"""Two cells of neighbouring regions are one when their centres are closer than this share of a nucleus's diameter."""

_GRID = 64


class RegionOverlaps:
    """Remembers cells of earlier regions and drops those that come again; a few numbers a cell are kept."""

    def __init__(self) -> None:
        self._places: dict[tuple[int | None, int, int], list[tuple[float, float]]] = {}

    def once(self, items: Sequence[ReadItem]) -> list[ReadItem]:
        """The items of one region without cells of earlier regions."""
        kept: list[ReadItem] = []
        new: list[tuple[int | None, FoundAt]] = []
        for item in items:
            if (
                isinstance(item, CellCrop | UnreadableCell)
                and item.found is not None
                and self._known(item.page, item.found)
            ):
                continue
            if isinstance(item, FieldReport):
                page = item.page
                item = replace(item, cells=tuple(cell for cell in item.cells if not self._known(page, cell)))
                new.extend((page, cell) for cell in item.cells)
            kept.append(item)
        for page, cell in new:
            place = (page, int(cell.x) // _GRID, int(cell.y) // _GRID)
            self._places.setdefault(place, []).append((cell.x, cell.y))
        return kept

    def _known(self, page: int | None, cell: FoundAt) -> bool:
        near = max(2.0 * REACH, _SAME * 2 * math.sqrt(cell.nucleus_area / max(1, cell.nuclei) / math.pi))
        column, row = int(cell.x) // _GRID, int(cell.y) // _GRID
        around = (self._places.get((page, column + i, row + j), ()) for i, j in product((-1, 0, 1), repeat=2))
        return any(math.dist((cell.x, cell.y), place) < near for places in around for place in places)


# A whole slide as a source of cells: overlapping regions, each cell counted in one of them.


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
        check_no_cytoplasm(options.page_options)
        super().__init__(slide, preparation, options)
        self._scans: dict[str, tuple[WholeImage, ...]] = {
            file.path: open_scans(self._path(file), slide.name, options.page_options) for file in slide.files
        }
        self._regions = [
            task
            for file in slide.files
            for scan, image in enumerate(self._scans[file.path])
            for task in _cores(file, image, scan)
        ]

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
        given = self._slide.um_per_pixel or self._options.um_per_pixel or self._scans[task.file.path][task.scan].um
        width = crop_width(self._options, traits.nucleus_diameter or 0.0, given) or 0
        return max(LEAST_MARGIN, width)

    def _region(self, task: RegionTask, core: tuple[int, int, int, int], margin: int) -> FieldImage:
        whole = self._scans[task.file.path][task.scan]
        left, top = max(0, core[0] - margin), max(0, core[1] - margin)
        right, bottom = min(whole.width, core[2] + margin), min(whole.height, core[3] + margin)
        reach = (core[0] - REACH, core[1] - REACH, core[2] + REACH, core[3] + REACH)
        size = (bottom - top, right - left)
        image = FieldImage(whole.number, None, whole.um, left=left, top=top, core=reach, size=size)
        image = replace(image, pixel_problem=whole.problem)
        try:
            pixels = whole.read(left, top, right - left, bottom - top)
        except UndecodableError as error:
            return replace(image, problem=say("region", left=left, top=top, why=foreign(error)))
        if pixels.min() == pixels.max():
            return replace(image, problem=say("region-empty"))
        return replace(image, pixels=pixels)


def _cores(file: SourceFile, whole: WholeImage, scan: int) -> Iterator[RegionTask]:
    """Cores that tile a slide, of nearly equal size."""
    rows, columns = math.ceil(whole.height / CORE), math.ceil(whole.width / CORE)
    for row, column in product(range(rows), range(columns)):
        x0, x1 = column * whole.width // columns, (column + 1) * whole.width // columns
        y0, y1 = row * whole.height // rows, (row + 1) * whole.height // rows
        yield RegionTask(file, (x0, y0, x1, y1), scan)
