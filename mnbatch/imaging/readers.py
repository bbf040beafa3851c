"""Files to cells: read once, hashed there, decoded from memory, prepared, measured; bad files never raise."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from mnbatch.assay.cells import CellCrop, ReadTask, Slide, SourceFile, UInt8Array, UnreadableCell
from mnbatch.assay.near_copies import SIDE, likenesses_of
from mnbatch.assay.page_options import NO_OPTIONS, PageOptions
from mnbatch.assay.reasons import reason_in, reason_of, say
from mnbatch.imaging.formats.loading import DecodedPage, load, page_count
from mnbatch.imaging.formats.picture_reading import put_together
from mnbatch.imaging.formats.pixels import Decoded
from mnbatch.imaging.formats.size_limits import UndecodableError
from mnbatch.imaging.identity import cell_id
from mnbatch.imaging.pages_of_slide import check_pages
from mnbatch.imaging.preparation import Preparation, PreparationError, Prepared, percentile_range, prepare
from mnbatch.imaging.quality import file_scale, quality_of
from mnbatch.imaging.stain_channels import colourless
from mnbatch.imaging.stain_recognition import stain_of_background

PAGES_PER_TASK = 64
_LARGE_FILE = 1 << 20
"""Bytes. Only larger TIFFs are looked into for pages before they are read, so that not every crop on a
network share is opened twice."""

_EVEN_LABELS = 0.98
"""Share of neighbouring pixels of objects that are equal in a label image; fewer are in flat, saturated nuclei."""

_RANGE_SAMPLE = 32
_VALUES_PER_CELL = 4096


def read_tasks(slide: Slide, options: PageOptions = NO_OPTIONS) -> Iterator[ReadTask]:
    """Units of decoding of a slide in the order of its files: a file each, or runs of at most 64 pages.

    Raises:
        SlideError: what the pages of its files are has to be said by a person.
    """
    options = slide.within_files(options)
    check_pages(slide, options)
    planes: dict[str, list[SourceFile]] = {}
    for companion in slide.companions:
        if companion.plane:
            planes.setdefault(companion.of, []).append(companion.file)
    for file in slide.files:
        if file.path in planes:
            yield ReadTask(slide.slide_id, slide.root, file, options=options, planes=tuple(planes[file.path]))
            continue
        large = file.size > _LARGE_FILE
        pages = page_count(os.path.join(slide.root, file.path), file.path, options) if large else 1
        if pages <= 1:
            yield ReadTask(slide.slide_id, slide.root, file, options=options)
            continue
        for first in range(0, pages, PAGES_PER_TASK):
            run = tuple(range(first, min(first + PAGES_PER_TASK, pages)))
            yield ReadTask(slide.slide_id, slide.root, file, run, hash_file=first == 0, options=options)


def read_cells(
    task: ReadTask, preparation: Preparation, slide_range: tuple[float, float] | None = None
) -> list[CellCrop | UnreadableCell]:
    """Read, decode, prepare and measure the cells of a task; safe to call from many threads.

    A file that cannot be read or decoded becomes an `UnreadableCell` with its reason; I/O errors are tried
    again twice. Pages that are reduced versions of others are no cells.

    Raises:
        SlideError: what its pages are has to be said by a person.
    """
    digest, pages = load(task)
    found = [_joined(task, list(pages))] if task.planes else pages
    return [_cell(task, page, digest, preparation, slide_range) for page in found]


def read_together(
    tasks: Sequence[ReadTask], preparation: Preparation, slide_range: tuple[float, float] | None = None
) -> list[list[CellCrop | UnreadableCell]]:
    """What `read_cells` gives for each of some small files, a step at a time over all of them.

    A processor that does the same step for one file after the other has it in its caches: for crops of 224 pixels
    that is worth more than any single step. The files' pixels are in memory together.
    """
    loaded = [(task, *load(task)) for task in tasks]
    pages = [(task, digest, list(found)) for task, digest, found in loaded]
    known = [[_unread(task, page, digest) for page in found] for task, digest, found in pages]
    wanted = [
        (cell, page.decoded)
        for cells, (_, _, found) in zip(known, pages, strict=True)
        for cell, page in zip(cells, found, strict=True)
        if page.decoded is not None
    ]
    made = iter(make_cells(wanted, preparation, slide_range))
    return [
        [cell if page.decoded is None else next(made) for cell, page in zip(cells, found, strict=True)]
        for cells, (_, _, found) in zip(known, pages, strict=True)
    ]


def _joined(task: ReadTask, first: list[DecodedPage]) -> DecodedPage:
    """The one picture of a cell whose focal planes are in files of their own; where one cannot be used, why."""
    stack: list[Decoded] = []
    for pages in (first, *(list(load(replace(task, file=file, planes=()))[1]) for file in task.planes)):
        if len(pages) != 1:
            return DecodedPage(None, None, say("plane-of-many", count=len(pages)))
        if pages[0].decoded is None:
            why = say("plane-unusable", why=reason_in(pages[0].reason))
            return replace(pages[0], page=None, reason=pages[0].reason if not stack else why)
        stack.append(pages[0].decoded)
    try:
        return DecodedPage(None, put_together(stack, "max" if task.options.planes == "max" else "sharpest"))
    except UndecodableError as error:
        return DecodedPage(None, None, reason_of(error))


def slide_range(
    slide: Slide, preparation: Preparation, options: PageOptions = NO_OPTIONS
) -> tuple[float, float] | None:
    """Contrast range of a slide for the rule `per_slide`; None for other rules, or when no cell can be read.

    Percentiles over at most 4096 evenly spaced values of each of at most 32 cells, evenly spaced over the
    slide's files and pages; the same whenever the files are the same.
    """
    contrast = preparation.contrast
    if contrast.rule != "per_slide":
        return None
    sample = [values for values in map(_sampled_values, _sample_of(slide, options)) if values is not None]
    if not sample:
        return None
    return percentile_range(np.concatenate(sample), contrast.low_percentile, contrast.high_percentile)


def _sample_of(slide: Slide, options: PageOptions) -> list[ReadTask]:
    single = [
        replace(task, pages=None if task.pages is None else (page,), hash_file=False)
        for task in read_tasks(slide, options)
        for page in (task.pages or (0,))
    ]
    count = min(_RANGE_SAMPLE, len(single))
    return [single[index * len(single) // count] for index in range(count)]


def _sampled_values(task: ReadTask) -> Decoded | None:
    values = [page.decoded.ravel() for page in load(task)[1] if page.decoded is not None]
    if not values:
        return None
    joined = np.concatenate(values)
    step = max(1, len(joined) // _VALUES_PER_CELL)
    return joined[::step][:_VALUES_PER_CELL].astype(np.float64)


def _cell(
    task: ReadTask,
    page: DecodedPage,
    file_digest: str,
    preparation: Preparation,
    limits: tuple[float, float] | None,
) -> CellCrop | UnreadableCell:
    nothing = _unread(task, page, file_digest)
    return nothing if page.decoded is None else make_cell(nothing, page.decoded, preparation, limits)


def _unread(task: ReadTask, page: DecodedPage, file_digest: str) -> UnreadableCell:
    return UnreadableCell(
        slide_id=task.slide_id,
        cell_id=cell_id(task.slide_id, task.file.path, page.page),
        source=task.file.path,
        page=page.page,
        reason=page.reason,
        transient=page.transient,
        file_digest=file_digest,
    )


def make_cell(
    known: UnreadableCell, decoded: Decoded, preparation: Preparation, limits: tuple[float, float] | None = None
) -> CellCrop | UnreadableCell:
    """Prepare and measure a decoded crop.

    Args:
        known: the cell's identity; given back with the reason where the crop cannot be prepared.
        decoded: (height, width) or (height, width, 3).
        limits: contrast range of the slide, for the rule `per_slide`.
    """
    return make_cells([(known, decoded)], preparation, limits)[0]


def make_cells(
    crops: Sequence[tuple[UnreadableCell, Decoded]],
    preparation: Preparation,
    limits: tuple[float, float] | None = None,
) -> list[CellCrop | UnreadableCell]:
    """`make_cell` for many crops, a step at a time over all of them (see `read_together`)."""
    made = [_prepared(known, decoded, preparation, limits) for known, decoded in crops]
    usable = [(one, decoded) for one, (_, decoded) in zip(made, crops, strict=True) if isinstance(one, Prepared)]
    digests = iter([pixel_digest(decoded) for _, decoded in usable])
    scales = [file_scale(decoded, prepared.limits) for prepared, decoded in usable]
    qualities = iter(
        [quality_of(one.found, one.background, scale) for (one, _), scale in zip(usable, scales, strict=True)]
    )
    likenesses = iter(likenesses_of([thumbnail(prepared.image) for prepared, _ in usable]))
    labels = iter([holds_labels(decoded) for _, decoded in usable])
    by_colour = preparation.polarity == "stains"
    grey = iter([by_colour and colourless(prepared.values, prepared.background) for prepared, _ in usable])
    pixels = iter([rgb_of(prepared.values) for prepared, _ in usable])
    return [
        one
        if isinstance(one, UnreadableCell)
        else CellCrop(
            slide_id=known.slide_id,
            cell_id=known.cell_id,
            source=known.source,
            page=known.page,
            pixels=next(pixels),
            digest=next(digests),
            stain=stain_of_background(one.background),
            quality=next(qualities),
            file_digest=known.file_digest,
            zoom=one.zoom,
            found=known.found,
            likeness=next(likenesses),
            size=(decoded.shape[0], decoded.shape[1]),
            labels=next(labels),
            colourless=next(grey),
        )
        for one, (known, decoded) in zip(made, crops, strict=True)
    ]


def _prepared(
    known: UnreadableCell, decoded: Decoded, preparation: Preparation, limits: tuple[float, float] | None
) -> Prepared | UnreadableCell:
    try:
        return prepare(decoded, preparation, limits)
    except PreparationError as error:
        return replace(known, reason=reason_of(error))


def rgb_of(values: UInt8Array) -> UInt8Array:
    """A prepared crop as uint8 (size, size, 3); of a grey one all channels are the same memory (`grey_of`)."""
    return values if values.ndim == 3 else np.broadcast_to(values[..., None], (*values.shape, 3))


def holds_labels(decoded: Decoded) -> bool:
    """Whether values are numbers of objects: mostly 0, few others, and these in even areas.

    A picture has noise or slopes: almost every pixel of it that is not background has a neighbour of another value.
    """
    if decoded.ndim != 2 or decoded.dtype.kind not in "iub":
        return False
    filled: npt.NDArray[np.bool_] = decoded != 0
    if not 0.005 * decoded.size < int(np.count_nonzero(filled)) < 0.9 * decoded.size:
        return False
    both: npt.NDArray[np.bool_] = filled[:, 1:] & filled[:, :-1]
    even: npt.NDArray[np.bool_] = (decoded[:, 1:] == decoded[:, :-1]) & both
    return int(np.count_nonzero(even)) >= _EVEN_LABELS * max(1, int(np.count_nonzero(both)))


def thumbnail(image: Image.Image) -> UInt8Array:
    """What is scored, grey and small: means over its parts, uint8 (64, 64)."""
    grey = image if image.mode == "L" else image.convert("L")
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX))


def pixel_digest(decoded: Decoded) -> str:
    """32 hex digits over decoded values, shape and type."""
    digest = hashlib.blake2b(np.ascontiguousarray(decoded).data, digest_size=16)
    digest.update(f"{decoded.shape}{decoded.dtype.str}".encode())
    return digest.hexdigest()
