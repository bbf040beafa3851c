"""What a file may ask for: numbers in its outer and inner headers, looked at before memory is taken for pixels."""

from __future__ import annotations

import lzma
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import tifffile

from mnbatch.assay.reasons import foreign, say

# What a file may ask for: numbers that are looked at in its headers, before memory is taken for its pixels.


MAX_PIXELS = 64_000_000
"""A cell crop has a few hundred pixels a side; what says it has more than this is damaged or hostile."""

MAX_BYTES = 6 * MAX_PIXELS
"""Decoded bytes of one image or page: the largest number of pixels in 16-bit colour."""

MAX_RATIO = 500
"""Decoded bytes of all pages of a file, as a multiple of the file's own; `MAX_BYTES` are allowed in any case. Pictures
of cells reach 50, fields of mostly zeros 200."""

MAX_SLIDE_PIXELS = 200_000_000_000
"""A glass slide at 0.1 um per pixel is 250 000 x 750 000."""

MAX_REGION_SIDE = 2048
"""Pixels a side of a region of a whole slide, by which the values of one of its pixels are limited."""

MAX_DIRECTORIES = 65_536
"""Pages of a TIFF, those of its SubIFDs among them."""

MAX_TAGS = 4096
"""Entries of one directory."""

MAX_VALUES = 1 << 22
"""Numbers of one tag: the tiles of a whole slide of 40 gigapixels are 610 000."""

MAX_TAG_BYTES = 64 << 20
"""Bytes of a tag of text or of a program's own data."""

MAX_TEXT = 16 << 20
"""Bytes of a description (OME-XML, ImageJ)."""

MAX_SEGMENTS = 1 << 18
"""Strips or tiles of a page that is decoded as a whole: 64 megapixels in tiles of 16 x 16."""

MAX_SCANS = 100
"""Passes of a progressive JPEG, each of which costs a decoding; encoders write 10."""

MAX_COMPANIONS = 10_000
"""Files that the index of a whole slide may name."""


class UndecodableError(Exception):
    """Not a usable crop; its argument is the `Reason` of the `reason` column."""


# Sizes that compressed data promise inside a strip or tile: decoders take memory by these, not by the TIFF's tags.


_SLACK = 16
"""Pixels by which a strip's inner picture may be larger: encoders fill up blocks."""

_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_MOST_CHANNELS, _MOST_TILES = 8, 4096
_LARGEST_DICTIONARY = 256 << 20


@dataclass(frozen=True, slots=True)
class InnerSize:
    """What an inner header promises: pixels, channels, bytes a value in the decoder."""

    width: int
    height: int
    channels: int = 4
    bytes_each: int = 1


def check_inner(data: bytes, width: int, height: int) -> None:
    """Refuse compressed data whose own header promises more than its strip or tile holds.

    Args:
        data: of one strip or tile (or a JPEG's tables).
        width, height: of the strip or tile, pixels.

    Raises:
        UndecodableError: a larger picture inside, too many passes, or a dictionary of gigabytes.
    """
    for size in inner_sizes(data):
        fits = size.width <= width + _SLACK and size.height <= height + _SLACK
        promised = size.width * size.height * size.channels * size.bytes_each
        if not fits or size.channels > _MOST_CHANNELS or promised > 4 * MAX_BYTES:
            inner = f"{size.width} x {size.height}"
            raise UndecodableError(say("inner-picture", width=width, height=height, inner=inner))


def inner_sizes(data: bytes) -> Iterator[InnerSize]:
    """Every size that a strip or tile states about itself; nothing for data without a header."""
    if data[:2] == b"\xff\xd8":
        yield from _jpeg(data)
    elif data[:4] == b"\xff\x4f\xff\x51" or data[4:8] == b"jP  ":
        yield from _jpeg2000(data)
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        width, height, depth = struct.unpack_from(">IIB", data.ljust(25, b"\0"), 16)
        yield InnerSize(width, height, 4, 2 if depth == 16 else 1)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        yield from _webp(data)
    elif data[:3] == b"II\xbc":
        yield from _jpeg_xr(data)


def check_scans(data: bytes) -> None:
    """Refuse a JPEG of very many passes: each one costs as much as decoding a picture.

    Raises:
        UndecodableError: more than `MAX_SCANS`.
    """
    if data.count(b"\xff\xda") > MAX_SCANS:
        raise UndecodableError(say("many-scans", most=MAX_SCANS))


def _jpeg(data: bytes) -> Iterator[InnerSize]:
    """All frame headers, found as decoders find them: garbage between markers is passed over."""
    check_scans(data)
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        if marker in (0x00, 0xFF, 0x01) or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in (0xD9, 0xDA):
            return
        if marker in _FRAMES and at + 10 <= len(data):
            bits, height, width, channels = struct.unpack_from(">BHHB", data, at + 4)
            yield InnerSize(width, height, channels, 1 if bits <= 8 else 2)
        at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))


def _jpeg2000(data: bytes) -> Iterator[InnerSize]:
    at = data.find(b"\xff\x4f\xff\x51")
    if at < 0 or at + 42 > len(data):
        raise UndecodableError(say("inner-header", what="JPEG 2000"))
    x1, y1, x0, y0, tile_x, tile_y, _, _, channels = struct.unpack_from(">8IH", data, at + 8)
    width, height = max(0, x1 - x0), max(0, y1 - y0)
    yield InnerSize(width, height, channels, 4)
    tiles = -(-width // max(1, tile_x)) * -(-height // max(1, tile_y))
    if tiles > _MOST_TILES:
        raise UndecodableError(say("inner-tiles", count=tiles))


def _webp(data: bytes) -> Iterator[InnerSize]:
    """Canvas and frames: each chunk has a size of its own."""
    at = 12
    while at + 18 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind == b"VP8X":
            yield InnerSize(
                1 + int.from_bytes(data[at + 12 : at + 15], "little"),
                1 + int.from_bytes(data[at + 15 : at + 18], "little"),
            )
        elif kind == b"VP8L":
            bits = int.from_bytes(data[at + 9 : at + 13], "little")
            yield InnerSize(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
        elif kind == b"VP8 ":
            width, height = struct.unpack_from("<HH", data, at + 14)
            yield InnerSize(width & 0x3FFF, height & 0x3FFF)
        at += 8 + length + (length & 1)


def _jpeg_xr(data: bytes) -> Iterator[InnerSize]:
    """Width and height by the container's directory; without them the decoder has nothing to go by."""
    (start,) = struct.unpack_from("<I", data.ljust(8, b"\0"), 4)
    known = {}
    if start + 2 <= len(data):
        (entries,) = struct.unpack_from("<H", data, start)
        table = data[start + 2 : start + 2 + 12 * entries]
        for tag, kind, _, value in struct.iter_unpack("<HHII", table[: len(table) // 12 * 12]):
            known[tag] = value & 0xFFFF if kind == 3 else value & 0xFF if kind == 1 else value
    if not known.get(0xBC80) or not known.get(0xBC81):
        raise UndecodableError(say("inner-header", what="JPEG XR"))
    yield InnerSize(known[0xBC80], known[0xBC81], 4, 4)


def check_dictionary(data: bytes) -> None:
    """Refuse LZMA whose header asks for a dictionary of gigabytes.

    Raises:
        UndecodableError: more than 256 MiB, or no LZMA.
    """
    try:
        lzma.LZMADecompressor(memlimit=_LARGEST_DICTIONARY).decompress(data[:65536], max_length=1)
    except lzma.LZMAError as error:
        raise UndecodableError(say("damaged", kind="TIFF", error=foreign(error))) from error


# A page of a TIFF before it is decoded: what its tags and what each strip or tile says of itself.


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
