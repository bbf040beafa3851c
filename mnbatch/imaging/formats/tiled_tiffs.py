"""Whole slides that are tiled TIFFs of any depth, read by tifffile: planes, channels and scans that a file may hold."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import tifffile

from mnbatch.assay.page_options import PageOptions
from mnbatch.assay.reasons import foreign, say
from mnbatch.imaging.fields.pixel_sizes import pixel_size
from mnbatch.imaging.formats.colour_choice import one_colour
from mnbatch.imaging.formats.likeness_of_pages import may_be_level
from mnbatch.imaging.formats.page_choice import Chosen, UnclearError, chosen_pictures
from mnbatch.imaging.formats.page_structure import Picture, Structure, structure_of
from mnbatch.imaging.formats.picture_reading import grey, page_of, put_together
from mnbatch.imaging.formats.pixels import DECODING_ERRORS, Decoded
from mnbatch.imaging.formats.size_limits import UndecodableError, check_segment, check_tiles
from mnbatch.imaging.formats.tiff_colours import as_colours
from mnbatch.imaging.formats.tiff_headers import TiffHeader, open_tiff
from mnbatch.imaging.wholeness.slide_tiles import Tiles

_MOST_UNTILED = 100_000_000
"""Pixels. A TIFF without tiles is decoded in strips; a larger one should be converted."""

_SIDE_PICTURE = 0.25
"""Share of a scan's area below which another picture is one of its label or of the whole glass."""


def tiled_images(path: str, options: PageOptions, header: TiffHeader | None = None) -> tuple[TiledTiff, ...]:
    """The scans of a whole slide that is a TIFF.

    Raises:
        UnclearError: a person has to say what its pages are.
        UndecodableError: it is not tiled and too large to be read whole.
    """
    with open(path, "rb") as stream:
        tiff, header = open_tiff(stream, header)
        if not any(directory.full for directory in header.directories):
            raise UndecodableError(say("no-full-page"))
        found = scans_in(structure_of(tiff, header))
        for index in {picture.directory for picture in found.pictures}:
            check_tiles(page_of(tiff, header, index))
        if found.length("unstated") > 1 and options.pages is None:
            raise UnclearError(say("pages-whole", count=found.length("unstated")))
        chosen = chosen_pictures(found, options)
    if any(picture.block for one in chosen for picture in one.pictures):
        raise UndecodableError(say("pages-in-one"))
    return tuple(TiledTiff(path, one, options, header, several=len(chosen) > 1) for one in chosen)


def scans_in(found: Structure) -> Structure:
    """A slide's pictures of full size: without smaller versions, and pictures of its label and of the whole glass.

    Raises:
        UnclearError: pictures of different sizes that are neither.
    """
    largest = max((picture.size for picture in found.pictures), key=lambda size: size[0] * size[1])
    scans = [picture for picture in found.pictures if picture.size == largest]
    others = {picture.size for picture in found.pictures} - {largest}
    for size in others:
        if not may_be_level(size, largest) and size[0] * size[1] > _SIDE_PICTURE * largest[0] * largest[1]:
            shown = f"{largest[1]} x {largest[0]}, {size[1]} x {size[0]}"
            raise UnclearError(say("pages-sizes", shown=shown, own=say("own-scans")))
    if not others:
        return replace(found, beyond=())
    # Smaller pictures lie along the one axis of pages of their own; what is left is counted again.
    places = list(dict.fromkeys(picture.at[:1] for picture in scans))
    axes = (((found.axes[0][0], len(places)),) if len(places) > 1 else ()) + found.axes[1:]
    moved = (replace(p, at=((places.index(p.at[:1]),) if len(places) > 1 else ()) + p.at[1:]) for p in scans)
    return replace(found, axes=axes, pictures=tuple(moved), beyond=())


class TiledTiff:
    """One scan of a tiled TIFF of any depth, of which only the tiles that a region needs are decoded.

    Args:
        several: it is one of several scans of its file.

    Raises:
        UndecodableError: it is not tiled and too large to be read whole.
    """

    def __init__(
        self, path: str, chosen: Chosen, options: PageOptions, header: TiffHeader, *, several: bool = False
    ) -> None:
        stream = open(path, "rb")  # noqa: SIM115 - lives as long as the slide
        self._tiff, header = open_tiff(stream, header)
        self._lock = threading.Lock()
        self._planes = options.planes or "sharpest"
        self._colour = None if chosen.by_channel else options.channel
        self._parts = [_Part(path, self._tiff, header, picture, self._lock) for picture in chosen.pictures]
        self.height, self.width = self._parts[0].page.imagelength, self._parts[0].page.imagewidth
        size = pixel_size(self._tiff)
        self.um, self.problem = size.um, size.problem
        self.number = chosen.number if several else None

    def read(self, left: int, top: int, width: int, height: int) -> Decoded:
        """Pixels of a region; a tile that was not scanned is black."""
        stack = [part.read(left, top, width, height) for part in self._parts]
        values = stack[0] if len(stack) == 1 else put_together(stack, self._planes)
        return np.ascontiguousarray(one_colour(values, self._colour))


class _Part:
    """One picture of a scan: a page, or one sample of its pixels."""

    def __init__(
        self, path: str, tiff: tifffile.TiffFile, header: TiffHeader, picture: Picture, lock: threading.Lock
    ) -> None:
        self._tiff, self._lock, self._size, self._picture = tiff, lock, header.size, picture
        self.page = page = page_of(tiff, header, picture.directory)
        self._tiles = Tiles(path, None, picture.directory)
        if not page.is_tiled and page.imagewidth * page.imagelength > _MOST_UNTILED:
            raise UndecodableError(say("no-tiles", width=page.imagewidth, height=page.imagelength))
        self._apart = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and page.samplesperpixel > 1

    def read(self, left: int, top: int, width: int, height: int) -> Decoded:
        """Grey or RGB of a region."""
        sample = self._picture.sample
        planes = [0] if not self._apart else range(self.page.samplesperpixel) if sample is None else [sample]
        self._tiles.check(left, top, width, height, planes)
        joined = [self._plane(plane, (left, top, width, height)) for plane in planes]
        values = joined[0] if len(joined) == 1 else np.concatenate(joined, axis=2)
        if sample is not None:
            return grey(self.page, values[..., 0 if self._apart else sample])
        return as_colours(self.page, values[..., 0] if values.shape[2] == 1 else values, exact=False)

    def _plane(self, plane: int, box: tuple[int, int, int, int]) -> Decoded:
        """A region of the tiles of one plane, (height, width, samples)."""
        left, top, width, height = box
        joined: Decoded | None = None
        for index, x, y in self._segments(plane, box):
            tile = self._tile(index)
            if joined is None:
                joined = np.zeros((height, width, *tile.shape[2:]), tile.dtype)
            _paste(joined, tile, x - left, y - top)
        assert joined is not None
        return joined

    def _segments(self, plane: int, box: tuple[int, int, int, int]) -> Iterator[tuple[int, int, int]]:
        """Tiles (or strips) of a region: index, left, top."""
        page, (left, top, width, height) = self.page, box
        across, down = (page.tilewidth, page.tilelength) if page.is_tiled else (page.imagewidth, page.rowsperstrip)
        columns, rows = math.ceil(page.imagewidth / across), math.ceil(page.imagelength / down)
        for row in range(top // down, math.ceil((top + height) / down)):
            for column in range(left // across, math.ceil((left + width) / across)):
                yield (plane * rows + row) * columns + column, column * across, row * down

    def _tile(self, index: int) -> Decoded:
        page = self.page
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
            samples = 1 if self._apart else page.samplesperpixel
            values = np.zeros((1, page.tilelength, page.tilewidth, samples), page.dtype)
        return np.asarray(values[0])


def _paste(target: Decoded, tile: Decoded, left: int, top: int) -> None:
    """Copy the part of a tile that lies in the target."""
    y0, x0 = max(0, top), max(0, left)
    y1, x1 = min(target.shape[0], top + tile.shape[0]), min(target.shape[1], left + tile.shape[1])
    if y0 < y1 and x0 < x1:
        target[y0:y1, x0:x1] = tile[y0 - top : y1 - top, x0 - left : x1 - left]
