"""Tiles of a whole slide: there, whole, or absent because nothing was scanned in their place.

A scanner may leave tiles without bytes where it did not scan. Such a tile is legitimate only where the slide's reduced
version shows nothing either: one even colour. Where it shows something, or where there is no reduced version that could
say so, the tile is missing.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from mnbatch.assay.reasons import foreign, say
from mnbatch.imaging.formats.pixels import DECODING_ERRORS
from mnbatch.imaging.formats.size_limits import UndecodableError
from mnbatch.imaging.wholeness.lost_sectors import DamageError, check_blocks
from mnbatch.imaging.wholeness.tiff_strips import check_segment, layout_of, pieces

_EVEN = 16
"""Levels of 255 within which a place is one even colour; JPEG is not exact."""

_SAME_SHAPE = 0.02

Box = tuple[int, int, int, int]


class Tiles:
    """The tiles of one full-resolution page; `check` is safe to call from many threads.

    Args:
        path: of a TIFF.
        size: (width, height) of the full resolution; None takes the page at `index`.
        index: of the page.

    Raises:
        DamageError: no page has that size, and some page's tiles are beyond the end of the file.
        DECODING_ERRORS: no TIFF.
    """

    def __init__(self, path: str, size: tuple[int, int] | None, index: int = 0) -> None:
        self._tiff = tifffile.TiffFile(path)
        self._lock = threading.Lock()
        self._size = self._tiff.filehandle.size
        pages = list(_all_pages(self._tiff))
        self._page: Any = self._tiff.pages[index].aspage() if size is None else _of_size(pages, size)
        if self._page is None:
            if any(_beyond(page, self._size) for page in pages if page.is_tiled):
                raise DamageError("image data missing")
            return
        across, down = _segment_size(self._page)
        self._a_plane = math.ceil(self._page.imagewidth / across) * math.ceil(self._page.imagelength / down)
        self._layout = layout_of(self._page)
        self._smaller = _reduced(pages, self._page)

    def check(self, left: int, top: int, width: int, height: int, planes: Iterable[int] = (0,)) -> None:
        """Check what a region of the slide is made from.

        Args:
            planes: samples that lie in tiles of their own, those of them that are looked at.

        Raises:
            UndecodableError: a tile is missing or damaged.
        """
        if self._page is None:
            return
        inside = list(_segments(self._page, (left, top, left + width, top + height)))
        indices = [plane * self._a_plane + index for plane in planes for index in inside]
        try:
            absent = [index for index in indices if not self._whole(index)]
            missing = sum(self._shown(index) for index in absent)
        except DECODING_ERRORS as error:
            raise UndecodableError(say("damaged", kind="TIFF", error=foreign(error))) from error
        if missing:
            raise UndecodableError(say("tile-missing", count=missing, total=len(indices)))

    def _whole(self, index: int) -> bool:
        """False for a tile without bytes; raises DamageError for a damaged one."""
        page = self._page
        data = self._read(page, index)
        if data is None:
            return False
        if self._layout is None or self._tiff.is_ndpi:
            return True
        start = page.dataoffsets[index]
        check_segment(page, self._layout, index, start, data)
        if page.compression == tifffile.COMPRESSION.NONE:
            check_blocks(list(pieces(page, self._layout, [(start, data)])))
        return True

    def _read(self, page: tifffile.TiffPage, index: int) -> bytes | None:
        if index >= min(len(page.dataoffsets), len(page.databytecounts)):
            raise DamageError("image data missing")
        start, size = page.dataoffsets[index], page.databytecounts[index]
        if not start or not size:
            return None
        if start + size > self._size:
            raise DamageError("image data missing")
        with self._lock:
            self._tiff.filehandle.seek(start)
            return bytes(self._tiff.filehandle.read(size))

    def _shown(self, index: int) -> bool:
        """Whether the largest reduced version that has this place shows anything there; True where none has it."""
        page = self._page
        across, down = _segment_size(page)
        row, column = divmod(index % self._a_plane, math.ceil(page.imagewidth / across))
        box = (column * across, row * down, (column + 1) * across, (row + 1) * down)
        for smaller in self._smaller:
            scale = smaller.imagewidth / page.imagewidth
            x0, y0 = int(box[0] * scale), int(box[1] * scale)
            x1 = max(x0 + 1, min(smaller.imagewidth, math.ceil(box[2] * scale)))
            y1 = max(y0 + 1, min(smaller.imagelength, math.ceil(box[3] * scale)))
            seen = self._values(smaller, (x0, y0, x1, y1))
            if seen is not None:
                return not _is_even(seen)
        return True

    def _values(self, page: tifffile.TiffPage, box: Box) -> list[npt.NDArray[Any]] | None:
        """Parts of a reduced page; None where it lacks a tile of them."""
        across, down = _segment_size(page)
        columns = math.ceil(page.imagewidth / across)
        parts = []
        for index in _segments(page, box):
            data = self._read(page, index)
            if data is None:
                return None
            values = page.decode(data, index, jpegtables=page.jpegtables)[0]
            if values is None:
                return None
            row, column = divmod(index, columns)
            x, y = column * across, row * down
            part = np.asarray(values)[0][max(0, box[1] - y) : box[3] - y, max(0, box[0] - x) : box[2] - x]
            parts.append(part.reshape(-1, part.shape[-1]))
        return parts


def _all_pages(tiff: tifffile.TiffFile) -> Iterator[tifffile.TiffPage]:
    for page in tiff.pages:
        full = page.aspage()
        yield full
        if full.subifds and full.pages is not None:
            yield from (below.aspage() for below in full.pages)


def _of_size(pages: list[tifffile.TiffPage], size: tuple[int, int]) -> tifffile.TiffPage | None:
    return next((page for page in pages if page.is_tiled and (page.imagewidth, page.imagelength) == size), None)


def _beyond(page: tifffile.TiffPage, size: int) -> bool:
    return any(start + count > size for start, count in zip(page.dataoffsets, page.databytecounts, strict=False))


def _reduced(pages: list[tifffile.TiffPage], full: tifffile.TiffPage) -> list[tifffile.TiffPage]:
    """Smaller pages of the same proportions, the largest first."""
    shape = full.imagewidth / full.imagelength
    smaller = [
        page
        for page in pages
        if page.imagewidth < full.imagewidth and abs(page.imagewidth / page.imagelength / shape - 1) < _SAME_SHAPE
    ]
    return sorted(smaller, key=lambda page: -page.imagewidth)


def _segment_size(page: tifffile.TiffPage) -> tuple[int, int]:
    if page.is_tiled:
        return page.tilewidth, page.tilelength
    return page.imagewidth, min(page.rowsperstrip or page.imagelength, page.imagelength)


def _segments(page: tifffile.TiffPage, box: Box) -> Iterator[int]:
    across, down = _segment_size(page)
    columns = math.ceil(page.imagewidth / across)
    right, bottom = min(box[2], page.imagewidth), min(box[3], page.imagelength)
    for row in range(box[1] // down, math.ceil(bottom / down)):
        yield from (row * columns + column for column in range(box[0] // across, math.ceil(right / across)))


def _is_even(parts: list[npt.NDArray[Any]]) -> bool:
    values = np.concatenate(parts).astype(np.float64)
    top = 255.0 if values.max() <= 255 else float(values.max())
    return bool((values.max(axis=0) - values.min(axis=0)).max() <= _EVEN * top / 255)
