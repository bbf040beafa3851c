"""Whole slides read region by region: through OpenSlide, or through tifffile for tiled TIFFs that it does not take."""

from __future__ import annotations

import math
import os
import threading
from typing import Any, Protocol

import numpy as np

from mnbatch.assay.reasons import Named, foreign, foreign_os, say
from mnbatch.errors import SlideError
from mnbatch.imaging.fields.field_images import chosen_channel, plausible, um_per_pixel, whole_page
from mnbatch.imaging.formats.pixels import DECODING_ERRORS, Decoded
from mnbatch.imaging.formats.size_limits import (
    MAX_PIXELS,
    MAX_SLIDE_PIXELS,
    UndecodableError,
    check_segment,
    check_tiles,
)
from mnbatch.imaging.formats.tiff_headers import TIFF_STARTS, TiffHeader, open_tiff, read_header
from mnbatch.imaging.layouts import WHOLE_SLIDES
from mnbatch.imaging.wholeness.slide_tiles import Tiles

_MOST_UNTILED = 100_000_000
"""Pixels. A TIFF without tiles is decoded in strips; a larger one should be converted."""


class WholeImage(Protocol):
    """A whole slide at full resolution; `read` is safe to call from many threads."""

    width: int
    height: int
    um: float | None

    def read(self, left: int, top: int, width: int, height: int) -> Decoded:
        """Pixels of a region inside the slide, (height, width) or (height, width, 3).

        Raises:
            UndecodableError: that region cannot be read.
        """


def open_whole(path: str, name: str, channel: str | None) -> WholeImage:
    """Open a whole slide.

    Args:
        path: its main file.
        name: of the slide, for messages.
        channel: nuclear channel of a TIFF with several.

    Raises:
        SlideError: neither OpenSlide nor tifffile can open it.
    """
    try:
        header = slide_header(path)
        if path.rpartition(".")[2].lower() in WHOLE_SLIDES or _is_colour(path):
            return OpenSlideImage(path)
        image = TiledTiff(path, channel, header)
        if not image.width or not image.height:
            raise UndecodableError(say("no-tiff-image"))
        return image
    except OSError as error:
        if error.errno is not None:
            said = say("whole-unreadable", slide=Named("slide", name), error=foreign_os(error))
            raise SlideError(said, say("whole-unreadable-do"), transient=True) from error
        raise _refused(path, name, error) from error
    except (*DECODING_ERRORS, UndecodableError) as error:
        raise _refused(path, name, error) from error


def slide_header(path: str) -> TiffHeader | None:
    """Directories of a whole slide that is a kind of TIFF, checked; None for other formats.

    Raises:
        UndecodableError: directories in a circle, tiles or a slide of a size that none has.
        ValueError, OSError: it cannot be read.
    """
    with open(path, "rb") as stream:
        if stream.read(4) not in TIFF_STARTS:
            return None
        ndpi = path.lower().endswith(".ndpi")
        header = read_header(stream, ndpi=ndpi)
    for directory in header.directories:
        _check_sides(directory.width, directory.height)
        # Hamamatsu's pages are one picture each, of which its reader takes parts.
        if directory.tile_width * directory.tile_height > MAX_PIXELS and not ndpi:
            raise UndecodableError(say("huge-segments"))
    return header


def _check_sides(width: int, height: int) -> None:
    if width * height > MAX_SLIDE_PIXELS:
        raise UndecodableError(say("large-slide", width=width, height=height))


def _refused(path: str, name: str, error: Exception) -> SlideError:
    slide = Named("slide", name)
    if path.lower().endswith(".mrxs") and not os.path.isdir(path[:-5]):
        folder = Named("folder", os.path.basename(path)[:-5])
        return SlideError(say("whole-without-data", slide=slide, folder=folder), say("whole-without-data-do"))
    return SlideError(say("whole-refused", slide=slide, error=foreign(error)), say("whole-refused-do"))


def _is_colour(path: str) -> bool:
    """Whether OpenSlide can be asked for a TIFF: it reads 8-bit colour in tiles, and knows vendors' own TIFFs."""
    with open(path, "rb") as stream, open_tiff(stream)[0] as tiff:
        page = tiff.pages.first
        return bool(page.is_tiled and page.bitspersample == 8 and page.samplesperpixel in (3, 4))


class OpenSlideImage:
    """A slide that OpenSlide opens.

    Args:
        path: main file.

    Raises:
        OSError, OpenSlideError (a kind of Exception that DECODING_ERRORS hold): it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._slide = _opened(path)
        self.width, self.height = self._slide.dimensions
        _check_sides(self.width, self.height)
        self._tiles = _tiles_of(path, (self.width, self.height))
        size = float(self._slide.properties.get("openslide.mpp-x") or 0)
        self.um = size if plausible(size) else None

    def read(self, left: int, top: int, width: int, height: int) -> Decoded:
        """RGB of a region; what was not scanned is white."""
        if self._tiles is not None:
            self._tiles.check(left, top, width, height)
        with self._lock:
            slide = self._slide = self._slide or _opened(self._path)
        try:
            region = np.asarray(slide.read_region((left, top), 0, (width, height)))
        except Exception as error:
            # OpenSlide refuses everything after its first error; the next region opens the slide anew.
            with self._lock:
                self._slide = None
            raise UndecodableError(say("region-unreadable", error=foreign(error))) from error
        colours, opacity = region[..., :3], region[..., 3:]
        return np.ascontiguousarray(colours if opacity.all() else np.where(opacity == 0, np.uint8(255), colours))


def _tiles_of(path: str, size: tuple[int, int]) -> Tiles | None:
    """The tiles of a slide that is a TIFF, whatever its extension; None for slides of many files."""
    with open(path, "rb") as stream:
        if stream.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return None
    return Tiles(path, size)


def _opened(path: str) -> Any:
    # Loaded here, because crops need neither it nor its libraries.
    try:
        import openslide
    except ModuleNotFoundError as error:
        raise UndecodableError(say("no-openslide")) from error
    try:
        return openslide.OpenSlide(path)
    except openslide.OpenSlideError as error:
        raise UndecodableError(say("openslide", error=foreign(error))) from error


class TiledTiff:
    """A tiled TIFF of any depth, of which only the tiles that a region needs are decoded.

    Raises:
        UndecodableError: it is not tiled and too large to be read whole, or its nuclear channel is not known.
    """

    def __init__(self, path: str, channel: str | None, header: TiffHeader | None = None) -> None:
        stream = open(path, "rb")  # noqa: SIM115 - lives as long as the slide
        self._tiff, header = open_tiff(stream, header)
        self._lock = threading.Lock()
        self._channel = channel
        full = [index for index, directory in enumerate(header.directories) if directory.full]
        if not full:
            raise UndecodableError(say("no-full-page"))
        index = chosen_channel(self._tiff, channel, len(full)) if self._planes() > 1 else 0
        self._page = whole_page(self._tiff, full[index])
        self._tiles = Tiles(path, None, full[index])
        self.height, self.width = self._page.imagelength, self._page.imagewidth
        self.um = um_per_pixel(self._tiff)
        self._size = header.size
        if not self._page.is_tiled and self.width * self.height > _MOST_UNTILED:
            raise UndecodableError(say("no-tiles", width=self.width, height=self.height))
        check_tiles(self._page)

    def read(self, left: int, top: int, width: int, height: int) -> Decoded:
        """Pixels of a region; a tile that was not scanned is black."""
        self._tiles.check(left, top, width, height)
        page = self._page
        across, down = (page.tilewidth, page.tilelength) if page.is_tiled else (page.imagewidth, page.rowsperstrip)
        columns = math.ceil(page.imagewidth / across)
        joined: Decoded | None = None
        for row in range(top // down, math.ceil((top + height) / down)):
            for column in range(left // across, math.ceil((left + width) / across)):
                tile = self._tile(row * columns + column)
                if joined is None:
                    joined = np.zeros((height, width, *tile.shape[2:]), tile.dtype)
                _paste(joined, tile, column * across - left, row * down - top)
        assert joined is not None
        return self._one_channel(joined)

    def _tile(self, index: int) -> Decoded:
        page = self._page
        try:
            offset, count = page.dataoffsets[index], page.databytecounts[index]
            if offset + count > self._size:
                raise UndecodableError(say("data-missing"))
            with self._lock:
                self._tiff.filehandle.seek(offset)
                data = self._tiff.filehandle.read(count) if count else None
            if data is not None:
                check_segment(page, data)
            values = page.decode(data, index, jpegtables=page.jpegtables)[0]
        except DECODING_ERRORS as error:
            raise UndecodableError(say("damaged", kind="TIFF", error=foreign(error))) from error
        if values is None:
            shape = (1, page.tilelength, page.tilewidth, page.samplesperpixel)
            values = np.zeros(shape, page.dtype)
        return np.asarray(values[0])

    def _planes(self) -> int:
        sizes = dict(zip(self._tiff.series[0].axes, self._tiff.series[0].shape, strict=False))
        return int(sizes.get("C", 1))

    def _one_channel(self, values: Decoded) -> Decoded:
        samples = values.shape[2]
        if samples == 1:
            return np.ascontiguousarray(values[..., 0])
        if samples in (3, 4) and self._channel is None:
            return np.ascontiguousarray(values[..., :3])
        return np.ascontiguousarray(values[..., chosen_channel(self._tiff, self._channel, samples)])


def _paste(target: Decoded, tile: Decoded, left: int, top: int) -> None:
    """Copy the part of a tile that lies in the target."""
    y0, x0 = max(0, top), max(0, left)
    y1, x1 = min(target.shape[0], top + tile.shape[0]), min(target.shape[1], left + tile.shape[1])
    if y0 < y1 and x0 < x1:
        target[y0:y1, x0:x1] = tile[y0 - top : y1 - top, x0 - left : x1 - left]
