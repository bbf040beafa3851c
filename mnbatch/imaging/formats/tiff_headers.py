"""The directories of a TIFF are followed by ourselves before a decoder sees the file."""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO, Final

import tifffile

from mnbatch.assay.reasons import say
from mnbatch.imaging.formats.size_limits import (
    MAX_BYTES,
    MAX_DIRECTORIES,
    MAX_RATIO,
    MAX_TAG_BYTES,
    MAX_TAGS,
    MAX_TEXT,
    MAX_VALUES,
    UndecodableError,
)

# The directories of a TIFF, followed by ourselves before a decoder sees the file.
#
# Decoders follow chains that lead in circles, and take memory for what a tag promises. Here every step is bounded by
# the file's size and by the numbers in `limits`, and nothing is read but directories.


TIFF_STARTS: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of a TIFF and of a BigTIFF."""

_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Type of a tag to the bytes of one value."""

_WHOLE_NUMBERS: Final = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _DESCRIPTION, _SAMPLES = 254, 256, 257, 258, 270, 277
_TILE_WIDTH, _TILE_HEIGHT, _SUB_DIRECTORIES, _DEPTH = 322, 323, 330, 32997
_NOT_FULL = 0b101
"""NewSubfileType: a reduced version, a transparency mask."""


@dataclass(frozen=True, slots=True)
class Directory:
    """What one directory says of its image.

    Attributes:
        offset: where it lies in the file.
        subfile: NewSubfileType.
        tile_width, tile_height: 0 where the image is in strips.
        bits: of one sample, the largest where samples differ.
        children: offsets of its SubIFDs.
        description: of the first directory alone.
    """

    offset: int
    width: int = 0
    height: int = 0
    samples: int = 1
    bits: int = 1
    depth: int = 1
    subfile: int = 0
    tile_width: int = 0
    tile_height: int = 0
    children: tuple[int, ...] = ()
    description: bytes = b""

    @property
    def tiled(self) -> bool:
        """Whether it is in tiles."""
        return self.tile_width > 0

    @property
    def full(self) -> bool:
        """Whether it is an image of its own, and no smaller version or mask of another one."""
        return not self.subfile & _NOT_FULL

    @property
    def decoded_bytes(self) -> int:
        """Memory that its pixels take."""
        return self.width * self.height * self.samples * self.depth * max(1, (self.bits + 7) // 8)


@dataclass(frozen=True, slots=True)
class TiffHeader:
    """All directories of a TIFF.

    Attributes:
        directories: those of the chain, in order.
        broken: the chain breaks off: what followed is missing.
        size: of the file, bytes.
    """

    directories: tuple[Directory, ...]
    broken: bool
    size: int

    @property
    def count(self) -> int:
        """Pages, and one more where the chain breaks off, so that what was lost shows."""
        return len(self.directories) + (self.broken and bool(self.directories))

    def check_total(self, pages: Iterable[Directory] | None = None) -> None:
        """Refuse small files whose pages together decode to very much.

        Raises:
            UndecodableError: more than `MAX_BYTES` and than `MAX_RATIO` times the file.
        """
        wanted = self.directories if pages is None else pages
        total = sum(page.decoded_bytes for page in wanted if page.full)
        if total > max(MAX_BYTES, MAX_RATIO * self.size):
            raise UndecodableError(say("many-bytes-of-all", mib=total >> 20, kib=self.size >> 10))


def read_header(stream: BinaryIO, *, ndpi: bool = False) -> TiffHeader:
    """Follow the directories of a TIFF.

    Args:
        ndpi: Hamamatsu's variant, whose pointers have 64 bits.

    Raises:
        ValueError: no TIFF.
        UndecodableError: directories that point in a circle, or more of anything than `limits` allow.
    """
    return _Walk(stream, ndpi=ndpi).header()


def read_header_of(data: bytes) -> TiffHeader:
    """The same of a file in memory."""
    return read_header(io.BytesIO(data))


class _Walk:
    def __init__(self, stream: BinaryIO, *, ndpi: bool) -> None:
        self._stream = stream
        self._size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        start = stream.read(16)
        order = {b"II": "<", b"MM": ">"}.get(start[:2])
        big = start[2:4] in (b"+\0", b"\0+")
        if order is None or len(start) < (16 if big else 8):
            raise ValueError("no TIFF header")
        wide = big or (ndpi and len(start) >= 12)
        self._order = order
        self._count = struct.Struct(order + ("Q" if big else "H"))
        self._entry = struct.Struct(order + ("HHQ8s" if big else "HHI4s"))
        self._pointer = struct.Struct(order + ("Q" if wide else "I"))
        self._first = int(self._pointer.unpack_from(start, 8 if big else 4)[0])
        self._seen: set[int] = set()

    def header(self) -> TiffHeader:
        found: list[Directory] = []
        offset, broken = self._first, False
        while offset:
            self._once(offset)
            try:
                directory, offset = self._directory(offset, first=not found)
            except (EOFError, OverflowError, OSError, struct.error):
                broken = True
                break
            found.append(directory)
            for child in directory.children:
                self._once(child)
        return TiffHeader(tuple(found), broken, self._size)

    def _once(self, offset: int) -> None:
        if offset in self._seen:
            raise UndecodableError(say("circle"))
        if len(self._seen) >= MAX_DIRECTORIES:
            raise UndecodableError(say("many-directories", most=MAX_DIRECTORIES))
        self._seen.add(offset)

    def _directory(self, offset: int, *, first: bool) -> tuple[Directory, int]:
        (entries,) = self._count.unpack(self._read(offset, self._count.size))
        if offset + entries * self._entry.size > self._size:
            raise EOFError
        if entries > MAX_TAGS:
            raise UndecodableError(say("many-tags", count=entries))
        table = self._read(offset + self._count.size, entries * self._entry.size + self._pointer.size)
        tags = self._entry.iter_unpack(table[: entries * self._entry.size])
        known: dict[int, tuple[int, int, bytes]] = {}
        for tag, kind, count, value in tags:
            _check_tag(tag, kind, count)
            # Thousands of pages may point at one long description; only the first one's is ever asked for.
            if first or tag != _DESCRIPTION:
                known.setdefault(tag, (kind, count, value))
        following = int(self._pointer.unpack(table[-self._pointer.size :])[0])
        return self._described(offset, known), following

    def _described(self, offset: int, tags: dict[int, tuple[int, int, bytes]]) -> Directory:
        def number(tag: int, default: int) -> int:
            return max(self._numbers(tags.get(tag), 16), default=default)

        return Directory(
            offset=offset,
            width=number(_WIDTH, 0),
            height=number(_HEIGHT, 0),
            samples=number(_SAMPLES, 1),
            bits=number(_BITS, 1),
            depth=max(1, number(_DEPTH, 1)),
            subfile=number(_SUBFILE, 0),
            tile_width=number(_TILE_WIDTH, 0),
            tile_height=number(_TILE_HEIGHT, 0),
            children=self._numbers(tags.get(_SUB_DIRECTORIES), MAX_DIRECTORIES),
            description=self._bytes(tags.get(_DESCRIPTION), MAX_TEXT),
        )

    def _numbers(self, tag: tuple[int, int, bytes] | None, most: int) -> tuple[int, ...]:
        if tag is None or tag[0] not in _WHOLE_NUMBERS:
            return ()
        data = self._bytes(tag, most * _SIZES[tag[0]])
        letter = _WHOLE_NUMBERS[tag[0]]
        return struct.unpack(f"{self._order}{len(data) // _SIZES[tag[0]]}{letter}", data)

    def _bytes(self, tag: tuple[int, int, bytes] | None, most: int) -> bytes:
        """At most `most` bytes of a tag's value; b"" where they lie beyond the end."""
        if tag is None or tag[0] not in _SIZES:
            return b""
        kind, count, value = tag
        wanted = min(count * _SIZES[kind], most)
        if count * _SIZES[kind] <= len(value):
            return value[:wanted]
        place = int(struct.unpack(self._order + ("Q" if len(value) == 8 else "I"), value)[0])
        try:
            return self._read(place, wanted)
        except (EOFError, OverflowError, OSError):
            return b""

    def _read(self, offset: int, size: int) -> bytes:
        if offset + size > self._size:
            raise EOFError
        self._stream.seek(offset)
        data = self._stream.read(size)
        if len(data) < size:
            raise EOFError
        return data


def _check_tag(tag: int, kind: int, count: int) -> None:
    width = _SIZES.get(kind, 1)
    opaque = kind in (1, 2, 6, 7)
    if tag == _DESCRIPTION and count * width > MAX_TEXT:
        raise UndecodableError(say("large-text", mib=count >> 20))
    if (opaque and count > MAX_TAG_BYTES) or (not opaque and count > MAX_VALUES):
        raise UndecodableError(say("many-values", tag=tag, count=count))


# Opening a TIFF: its directories and its description are looked at first, then tifffile is let in.


_ENTITIES = re.compile(rb"<!\s*(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_OME = re.compile(rb"<(?:\w+:)?OME\b")
_PIXELS = re.compile(rb"<(?:\w+:)?Pixels\b[^>]*>")
_AXIS = re.compile(rb"""\bSize[CTZ]\s*=\s*["']\s*(\d+)""")
_PLANES = re.compile(rb"""\b(?:IFD|PlaneCount|NumPlanes|First[CTZ])\s*=\s*["']\s*(\d+)""")
_IMAGEJ = re.compile(rb"^(?:images|channels|slices|frames)=(\d+)", re.MULTILINE)
_SHAPED = re.compile(rb'^\s*\{\s*"shape":\s*\[([\d,\s]*)\]')


def open_tiff(stream: BinaryIO, header: TiffHeader | None = None) -> tuple[tifffile.TiffFile, TiffHeader]:
    """Open a TIFF of which all directories were followed.

    tifffile never opens a further file that a description names: it cannot from memory, and is told not to elsewhere.

    Args:
        stream: seekable; belongs to the caller.
        header: where it was read before.

    Raises:
        UndecodableError: a limit of `limits` is passed, or the description promises planes beyond reason.
        One of `DECODING_ERRORS`: it is damaged.
    """
    header = header or read_header(stream)
    if not header.directories:
        raise UndecodableError(say("directory-missing"))
    check_description(header.directories[0].description)
    stream.seek(0)
    alone = None if isinstance(stream, io.BytesIO) else False
    return tifffile.TiffFile(stream, _multifile=alone, is_mmstack=False, is_scn=False), header


def check_description(text: bytes) -> None:
    """Refuse a description by which a list of very many planes would be made, or very much text.

    Raises:
        UndecodableError: entities, or more planes than `MAX_DIRECTORIES`.
    """
    if _OME.search(text):
        if _ENTITIES.search(text):
            raise UndecodableError(say("entities"))
        total = 0
        for pixels in _PIXELS.findall(text):
            total += _product(_AXIS.findall(pixels))
        _check_planes(max([total, *map(_number, _PLANES.findall(text))]))
    elif text.startswith(b"ImageJ="):
        _check_planes(max(map(_number, _IMAGEJ.findall(text)), default=0))
    elif shaped := _SHAPED.match(text):
        axes = [_number(axis) for axis in shaped[1].split(b",") if axis.strip()]
        _check_planes(_product_of(axes[:-3]))


def _number(digits: bytes) -> int:
    return int(digits[:20])


def _product(axes: list[bytes]) -> int:
    return _product_of([_number(axis) for axis in axes])


def _product_of(axes: list[int]) -> int:
    product = 1
    for axis in axes:
        product *= max(1, axis)
    return product


def _check_planes(count: int) -> None:
    if count > MAX_DIRECTORIES:
        raise UndecodableError(say("many-planes", count=count))
