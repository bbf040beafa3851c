"""A page of a TIFF before it is decoded: what its tags and what each strip or tile says of itself."""

from __future__ import annotations

import math
from typing import Final

import tifffile

from mnbatch.assay.reasons import say
from mnbatch.imaging.inner_headers import check_dictionary, check_inner
from mnbatch.imaging.limits import MAX_BYTES, MAX_REGION_SIDE, MAX_SEGMENTS, UndecodableError

_BOUNDED: Final = frozenset({1, 2, 3, 4, 5, 8, 32773, 32946, 34926, 50000})
"""Compressions whose decoder is told how much may come out."""

_PICTURES: Final = frozenset({6, 7, 22610, 33003, 33004, 33005, 33007, 34712, 34892, 34927, 34933, 34934, 50001})
"""Compressions of which each strip or tile is a picture file with a header of its own."""

_LZMA: Final = 34925
_SPARE = 64 << 20
"""Bytes of strips that may be read more than once in one page: writers share blank tiles."""


def check_page(page: tifffile.TiffPage, file_size: int) -> None:
    """Refuse a page that would take much more memory or time than an image of cells does.

    Args:
        page: whose strips or tiles lie inside the file.
        file_size: bytes.

    Raises:
        UndecodableError: too many values or strips, strips read over and over, a compression whose memory cannot be
            bounded, a larger picture inside a strip.
    """
    each = page.dtype.itemsize if page.dtype is not None else 8
    size = page.imagewidth * page.imagelength * page.imagedepth * page.samplesperpixel * each
    if max(size, math.prod(page.chunks) * each) > MAX_BYTES:
        raise UndecodableError(say("many-bytes", mib=size >> 20))
    if len(page.dataoffsets) > MAX_SEGMENTS:
        raise UndecodableError(say("many-segments", count=len(page.dataoffsets)))
    if sum(page.databytecounts) > 2 * file_size + _SPARE:
        raise UndecodableError(say("shared-segments"))
    _check_compression(page)


def check_tiles(page: tifffile.TiffPage) -> None:
    """Refuse a page of which regions are read, if one tile or one region would take too much memory.

    Raises:
        UndecodableError: it would; or fewer tiles are listed than the page has.
    """
    each = page.dtype.itemsize if page.dtype is not None else 8
    size = max(math.prod(page.chunks), MAX_REGION_SIDE**2 * page.samplesperpixel) * each
    if size > MAX_BYTES:
        raise UndecodableError(say("many-bytes", mib=size >> 20))
    if min(len(page.dataoffsets), len(page.databytecounts)) < math.prod(page.chunked):
        raise UndecodableError(say("data-missing"))
    check_compression(page)
    for tables in (page.jpegtables, page.jpegheader):
        if tables:
            check_inner(tables, *_place(page))


def check_compression(page: tifffile.TiffPage) -> None:
    """Refuse a compression whose decoder takes memory by numbers that cannot be looked at first.

    Raises:
        UndecodableError: such a compression.
    """
    code = int(page.compression)
    if code not in _BOUNDED | _PICTURES | {_LZMA}:
        name = getattr(page.compression, "name", None)
        raise UndecodableError(say("compression", what=name or code))


def check_segment(page: tifffile.TiffPage, data: bytes) -> None:
    """Refuse a strip or tile that promises more than its place in the page.

    Raises:
        UndecodableError: it does.
    """
    code = int(page.compression)
    if code == _LZMA:
        check_dictionary(data)
    elif code in _PICTURES:
        check_inner(data, *_place(page))


def _check_compression(page: tifffile.TiffPage) -> None:
    check_compression(page)
    code = int(page.compression)
    if code in _BOUNDED:
        return
    for tables in (page.jpegtables, page.jpegheader):
        if tables:
            check_inner(tables, *_place(page))
    handle = page.parent.filehandle
    for offset, count in sorted(set(zip(page.dataoffsets, page.databytecounts, strict=False))):
        handle.seek(offset)
        check_segment(page, handle.read(count))


def _place(page: tifffile.TiffPage) -> tuple[int, int]:
    """Width and height of a strip or tile, pixels; old-style JPEG may hold the whole page in its first strip."""
    if page.is_tiled:
        return page.tilewidth, page.tilelength
    whole = int(page.compression) == 6
    return page.imagewidth, page.imagelength if whole else min(page.rowsperstrip, page.imagelength)
