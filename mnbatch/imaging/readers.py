"""Files to cells: read once, hashed there, decoded from memory, prepared and measured; never an exception for a file."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import tifffile

from mnbatch.assay.cells import CellCrop, ReadTask, Slide, UnreadableCell
from mnbatch.imaging.decoding import (
    DECODING_ERRORS,
    Decoded,
    UndecodableError,
    decode_page,
    decode_plain,
    kind_of,
)
from mnbatch.imaging.ground import ground_of, thinned
from mnbatch.imaging.identity import cell_id
from mnbatch.imaging.look import look_of_ground
from mnbatch.imaging.preparation import (
    Preparation,
    PreparationError,
    percentile_range,
    prepare_image,
)
from mnbatch.imaging.quality import file_scale, measure_image

PAGES_PER_TASK = 64
_LARGE_FILE = 1 << 20
"""Bytes. Only larger TIFFs are looked into for pages before they are read, so that a crawl over a network share
does not open every crop twice."""

_LARGEST_FILE = 1 << 30
"""Bytes that are read at once for one crop; more cannot be a crop of at most 64 megapixels."""

_ATTEMPTS = 3
_PAUSE_SECONDS = 0.05
_LASTING = (
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)
_RANGE_SAMPLE = 32
_VALUES_PER_CELL = 4096
_NOT_A_CROP = 0b101
"""TIFF NewSubfileType bits: a reduced-resolution version, a transparency mask."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Page:
    """One decoded cell, or why it could not be decoded."""

    page: int | None
    decoded: Decoded | None
    reason: str = ""
    transient: bool = False


def read_tasks(slide: Slide) -> Iterator[ReadTask]:
    """Units of decoding of a slide in the order of its files: a file each, or runs of at most 64 pages."""
    for file in slide.files:
        pages = _page_count(os.path.join(slide.root, file.path)) if file.size > _LARGE_FILE else 1
        if pages <= 1:
            yield ReadTask(slide.slide_id, slide.root, file)
            continue
        for first in range(0, pages, PAGES_PER_TASK):
            run = tuple(range(first, min(first + PAGES_PER_TASK, pages)))
            yield ReadTask(slide.slide_id, slide.root, file, run, hash_file=first == 0)


def read_cells(
    task: ReadTask, preparation: Preparation, slide_range: tuple[float, float] | None = None
) -> list[CellCrop | UnreadableCell]:
    """Read, decode, prepare and measure the cells of a task; safe to call from many threads.

    A file that cannot be read or decoded becomes an `UnreadableCell` with its reason; I/O errors are tried again
    twice. Pages that are reduced versions of others are no cells.
    """
    digest, pages = _load(task)
    return [_cell(task, page, digest, preparation, slide_range) for page in pages]


def slide_range(slide: Slide, preparation: Preparation) -> tuple[float, float] | None:
    """Contrast range of a slide for the rule `per_slide`; None for the other rules, or when no cell can be read.

    Percentiles over at most 4096 evenly spaced values of each of at most 32 cells, evenly spaced over the
    slide's files and pages; the same whenever the files are the same.
    """
    contrast = preparation.contrast
    if contrast.rule != "per_slide":
        return None
    sample = [values for values in map(_sampled_values, _sample_of(slide)) if values is not None]
    if not sample:
        return None
    return percentile_range(np.concatenate(sample), contrast.low_percentile, contrast.high_percentile)


def _sample_of(slide: Slide) -> list[ReadTask]:
    single = [
        ReadTask(
            task.slide_id, task.root, task.file, None if task.pages is None else (page,), hash_file=False
        )
        for task in read_tasks(slide)
        for page in (task.pages or (0,))
    ]
    count = min(_RANGE_SAMPLE, len(single))
    return [single[index * len(single) // count] for index in range(count)]


def _sampled_values(task: ReadTask) -> Decoded | None:
    values = [page.decoded.ravel() for page in _load(task)[1] if page.decoded is not None]
    if not values:
        return None
    joined = np.concatenate(values)
    step = max(1, len(joined) // _VALUES_PER_CELL)
    return joined[::step][:_VALUES_PER_CELL].astype(np.float64)


def _cell(
    task: ReadTask,
    page: _Page,
    file_digest: str,
    preparation: Preparation,
    limits: tuple[float, float] | None,
) -> CellCrop | UnreadableCell:
    source = task.file.path
    identity = cell_id(task.slide_id, source, page.page)
    reason = page.reason
    if page.decoded is not None:
        try:
            image, used = prepare_image(page.decoded, preparation, limits)
        except PreparationError as error:
            reason = str(error)
        else:
            pixels = np.asarray(image.convert("RGB"))
            ground = ground_of(thinned(pixels if image.mode == "RGB" else np.asarray(image)))
            return CellCrop(
                slide_id=task.slide_id,
                cell_id=identity,
                source=source,
                page=page.page,
                pixels=pixels,
                digest=pixel_digest(page.decoded),
                look=look_of_ground(ground),
                quality=measure_image(image, ground, file_scale(page.decoded, used)),
                file_digest=file_digest,
            )
    return UnreadableCell(task.slide_id, identity, source, page.page, reason, page.transient, file_digest)


def pixel_digest(decoded: Decoded) -> str:
    """32 hex digits over decoded values, shape and type."""
    digest = hashlib.blake2b(np.ascontiguousarray(decoded).data, digest_size=16)
    digest.update(f"{decoded.shape}{decoded.dtype.str}".encode())
    return digest.hexdigest()


def _load(task: ReadTask) -> tuple[str, list[_Page]]:
    """SHA-256 of the file (or "") and its decoded pages."""
    path = os.path.join(task.root, task.file.path)
    digest = ""
    try:
        if task.pages is not None:
            digest = _retried(lambda: _hash(path)) if task.hash_file else ""
            return digest, _retried(lambda: _pages_of_gallery(path, task.pages or ()))
        data = _retried(lambda: _read(path))
        digest = hashlib.sha256(data).hexdigest() if task.hash_file else ""
        kind = kind_of(data)
        if kind == "tiff":
            return digest, _pages_in_memory(data)
        return digest, [_Page(None, decode_plain(data, kind))]
    except UndecodableError as error:
        pages: tuple[int | None, ...] = task.pages or (None,)
        return digest, [_Page(page, None, str(error)) for page in pages]
    except OSError as error:
        pages = task.pages or (None,)
        return digest, [_Page(page, None, _io_reason(error), transient=True) for page in pages]


def _io_reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "file vanished while the run was going on"
    if isinstance(error, PermissionError):
        return "no permission to read the file"
    return f"file could not be read: {error.strerror or error}"


def _retried(action: Callable[[], T]) -> T:
    """Try an I/O action three times; what will not change by waiting is not tried again."""
    for attempt in range(1, _ATTEMPTS):
        try:
            return action()
        except OSError as error:
            if error.errno in _LASTING:
                raise
            time.sleep(_PAUSE_SECONDS * attempt)
    return action()


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > _LARGEST_FILE:
            raise UndecodableError(f"file of {size >> 20} MiB; too large for a cell crop")
        return stream.readall()


def _hash(path: str) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _page_count(path: str) -> int:
    """Pages of a TIFF; 1 for anything that cannot be counted, which the reader will then explain."""
    try:
        with tifffile.TiffFile(path) as tiff:
            return len(tiff.pages)
    except DECODING_ERRORS:
        return 1


def _pages_in_memory(data: bytes) -> list[_Page]:
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            count = len(tiff.pages)
            wanted = range(count)
            pages = [_decoded(tiff, index, len(data), single=count == 1) for index in wanted]
    except DECODING_ERRORS as error:
        raise UndecodableError(f"damaged or truncated TIFF ({error})") from error
    cells = [page for page in pages if page is not None]
    if not cells:
        raise UndecodableError("TIFF without a full-resolution page")
    return cells


def _pages_of_gallery(path: str, wanted: tuple[int, ...]) -> list[_Page]:
    with open(path, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        try:
            tiff = tifffile.TiffFile(stream)
        except tifffile.TiffFileError as error:
            raise UndecodableError(f"damaged or truncated TIFF ({error})") from error
        pages = [_decoded(tiff, index, size, single=False) for index in wanted]
    return [page for page in pages if page is not None]


def _decoded(tiff: tifffile.TiffFile, index: int, size: int, *, single: bool) -> _Page | None:
    """One page, or None when it is no cell but a reduced version of another page."""
    number = None if single else index
    try:
        page = tiff.pages[index]
        if page.subfiletype & _NOT_A_CROP:
            return None
        return _Page(number, decode_page(page, size))
    except UndecodableError as error:
        return _Page(number, None, str(error))
    except DECODING_ERRORS as error:
        return _Page(number, None, f"damaged or truncated TIFF ({error})")
