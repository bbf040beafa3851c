"""Strips and tiles of a TIFF page: all there, each as long as its rows, none filled up by a decoder."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from mnbatch.imaging.wholeness.cut_tails import check_end, check_tail
from mnbatch.imaging.wholeness.jpeg_bmp import check_jpeg, jpeg_size
from mnbatch.imaging.wholeness.lost_sectors import SECTOR, DamageError, Piece, check_blocks, check_noise, check_tiles

_JPEG = 7
_PLAIN = 1
_PACKBITS = 32773
_LOSSLESS = (5, 8, 32946, _PACKBITS, 34925, 50000, 34926)
"""LZW, Deflate (two numbers), PackBits, LZMA, Zstandard (two numbers)."""

_WITHOUT_CHECKSUM = (_PACKBITS, 50000, 34926)

_ROOM = 1 << 16
_BLANK = re.compile(rb"\x00{%d,}|\xff{%d,}" % (SECTOR, SECTOR))


@dataclass(frozen=True, slots=True)
class Layout:
    """How pixels are stored in a segment (strip or tile) of a page.

    Attributes:
        stride: bytes a row of a segment.
        rows: of a full segment; last_rows: of the last strip of a plane.
    """

    stride: int
    rows: int
    last_rows: int
    segments_a_plane: int

    def needed(self, index: int) -> tuple[int, int]:
        """Bytes that segment `index` needs, and bytes of a full one."""
        last = index % self.segments_a_plane == self.segments_a_plane - 1
        return self.stride * (self.last_rows if last else self.rows), self.stride * self.rows


def layout_of(page: tifffile.TiffPage) -> Layout | None:
    """None for pages whose rows are no plain series of samples (subsampled colours, volumes)."""
    if page.imagedepth > 1 or (page.photometric == tifffile.PHOTOMETRIC.YCBCR and page.compression != _JPEG):
        return None
    samples = 1 if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE else page.samplesperpixel
    width = page.tilewidth if page.is_tiled else page.imagewidth
    bits = page.bitspersample
    if not isinstance(bits, int):
        return None
    stride = (width * samples * bits + 7) // 8
    if page.is_tiled:
        tiles = math.ceil(page.imagewidth / page.tilewidth) * math.ceil(page.imagelength / page.tilelength)
        return Layout(stride, page.tilelength, page.tilelength, tiles)
    rows = min(page.rowsperstrip or page.imagelength, page.imagelength)
    strips = math.ceil(page.imagelength / rows)
    return Layout(stride, rows, page.imagelength - (strips - 1) * rows, strips)


def check_segments(page: tifffile.TiffPage, file_size: int) -> None:
    """Whether all strips or tiles of a crop are in the file, each in a place of its own.

    Raises:
        DamageError: some are absent, empty, beyond the end or overlap.
    """
    spans = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    complete = len(spans) == math.prod(page.chunked)
    if not complete or any(not start or not size or start + size > file_size for start, size in spans):
        raise DamageError("image data missing")
    ordered = sorted(spans)
    if any(start + size > following for (start, size), (following, _) in pairwise(ordered)):
        raise DamageError("strips or tiles overlap in the file")


def check_pixels(page: tifffile.TiffPage, *, labels: bool = False) -> None:
    """Read all segments of a page and check each.

    Args:
        labels: a label image, in which blank and even areas are the rule: only that all of it is there is checked.

    Raises:
        DamageError: what is stored is not what the page's rows need.
    """
    main = page.keyframe
    layout = layout_of(main)
    if layout is None:
        return
    handle = page.parent.filehandle
    stored: list[tuple[int, bytes]] = []
    for index, (start, size) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=False)):
        handle.seek(start)
        data = handle.read(size)
        check_segment(main, layout, index, start, data, noise=not labels)
        stored.append((start, data))
    if main.compression == _PLAIN and main.fillorder == 1 and not labels:
        found = list(pieces(main, layout, stored))
        if len(found) > 1 and not main.is_tiled:
            found = [replace(piece, apart=True) for piece in found]
        check_blocks(found)
        if len(found) == 1:
            check_tail(found[0])
        if main.is_tiled or len(found) > 1:
            _check_end_of_parts(main, layout, stored)
        for plane in _planes(layout, [data for _, data in stored]) if main.is_tiled else ():
            check_tiles(_assembled(main, layout, plane), (main.tilelength, main.tilewidth))


def _check_end_of_parts(page: tifffile.TiffPage, layout: Layout, stored: Sequence[tuple[int, bytes]]) -> None:
    """Zeros to the end of tiles, or of strips that are not next to each other, of a picture in one plane."""
    samples = page.samplesperpixel
    if layout.segments_a_plane != len(stored) or page.bitspersample not in (8, 16):
        return
    itemsize = page.bitspersample // 8
    width = page.tilewidth if page.is_tiled else page.imagewidth
    by_place = sorted(range(len(stored)), key=lambda index: stored[index][0])
    numbers: list[npt.NDArray[np.int64]] = [np.zeros((0, 0, 1), np.int64)] * len(stored)
    places = list(numbers)
    begun = 0
    for index in by_place:
        rows = layout.needed(index)[0] // layout.stride
        own = np.arange(rows * width, dtype=np.int64).reshape(rows, width, 1)
        numbers[index] = own + begun
        places[index] = stored[index][0] + own * itemsize * samples
        begun += rows * width
    if page.is_tiled:
        picture = _assembled(page, layout, [data for _, data in stored])
        order, where = _in_place(page, numbers), _in_place(page, places)
    else:
        kind = np.dtype(f"{page.parent.byteorder}u{itemsize}")
        parts = [np.frombuffer(data[: layout.needed(i)[0]], kind) for i, (_, data) in enumerate(stored)]
        picture = np.concatenate(parts).reshape(page.imagelength, page.imagewidth, samples)
        order, where = np.concatenate(numbers), np.concatenate(places)
    if picture.size:
        check_end(picture, order[..., 0], where[..., 0], itemsize * samples)


def _planes(layout: Layout, stored: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Tiles of each plane: of samples that lie apart, each has all of them."""
    for first in range(0, len(stored), layout.segments_a_plane):
        yield stored[first : first + layout.segments_a_plane]


def _assembled(page: tifffile.TiffPage, layout: Layout, stored: Sequence[bytes]) -> npt.NDArray[np.generic]:
    """One plane of uncompressed tiles of whole bytes, (height, width, samples); nothing where they are none."""
    bits = page.bitspersample
    if bits not in (8, 16) or page.sampleformat not in (None, 1):
        return np.zeros((0, 0), np.uint8)
    kind = np.dtype(f"{page.parent.byteorder}u{bits // 8}")
    size = layout.stride * layout.rows
    tiles = [np.frombuffer(data[:size], kind).reshape(page.tilelength, page.tilewidth, -1) for data in stored]
    return _in_place(page, tiles)


def _in_place(page: tifffile.TiffPage, tiles: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Tiles of one plane put together, without what is beyond the picture."""
    across, down = math.ceil(page.imagewidth / page.tilewidth), math.ceil(page.imagelength / page.tilelength)
    rows = [np.concatenate(tiles[row * across : (row + 1) * across], axis=1) for row in range(down)]
    return np.concatenate(rows)[: page.imagelength, : page.imagewidth]


def check_segment(
    page: tifffile.TiffPage, layout: Layout, index: int, start: int, data: bytes, *, noise: bool = True
) -> None:
    """Check one strip or tile.

    Args:
        page: with its tags (a keyframe).
        index: of the segment; start: of its bytes in the file.
        noise: look for noise where the compression has no checksum.

    Raises:
        DamageError: it ends early, holds more than its rows, or whole blank sectors where its compression makes none.
    """
    if page.compression == _JPEG:
        _check_jpeg_segment(page, start, data)
        return
    needed, full = layout.needed(index)
    if page.compression == _PLAIN:
        if len(data) < needed:
            raise DamageError(f"strip {index + 1} holds {len(data)} of {needed} bytes")
        if len(data) >= full + layout.stride and not (page.is_imagej or page.is_shaped or page.is_ome):
            raise DamageError(f"strip {index + 1} holds {len(data)} bytes, its rows are {needed}")
    elif page.compression in _LOSSLESS and page.fillorder == 1:
        unpacked = _check_unpacked(page, index, data, (needed, full))
        if noise:
            _check_noise(page, unpacked[:needed])
        if any(_whole_sectors(run, start) for run in _BLANK.finditer(data)):
            raise DamageError("whole sectors of its data are blank")


def _check_unpacked(page: tifffile.TiffPage, index: int, data: bytes, lengths: tuple[int, int]) -> bytes:
    needed, full = lengths
    unpacked = tifffile.TIFF.DECOMPRESSORS[page.compression](data, out=full + _ROOM)
    length = len(unpacked)
    if length < needed:
        raise DamageError(f"strip {index + 1} ends after {length} of {needed} bytes")
    # PackBits may be filled up to an even length.
    spare = 1 if page.compression == _PACKBITS else 0
    if length > needed + spare and length not in (full, full + spare):
        raise DamageError(f"strip {index + 1} gives {length} bytes, its rows are {needed}")
    return bytes(unpacked)


def _check_noise(page: tifffile.TiffPage, unpacked: bytes) -> None:
    bits = page.bitspersample
    if page.compression in _WITHOUT_CHECKSUM and page.predictor in (None, 1, 2) and bits in (8, 16):
        samples = 1 if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE else page.samplesperpixel
        kind = np.dtype(f"{page.parent.byteorder}u{bits // 8}")
        check_noise(unpacked, kind, samples, differences=page.predictor == 2)


def _whole_sectors(run: re.Match[bytes], start: int) -> bool:
    return (run.start() + start) // SECTOR + 1 <= (run.end() + start) // SECTOR


def _check_jpeg_segment(page: tifffile.TiffPage, start: int, data: bytes) -> None:
    tables = page.jpegtables
    if data[:2] != b"\xff\xd8":
        raise DamageError("a strip or tile is not a JPEG")
    whole = tables[:-2] + data[2:] if tables else data
    size = jpeg_size(whole)
    wide = page.tilewidth if page.is_tiled else page.imagewidth
    if size is not None and size[1] < wide:
        raise DamageError(f"a strip or tile is {size[1]} pixels wide, not {wide}")
    check_jpeg(whole, start + len(data) - len(whole))


def pieces(page: tifffile.TiffPage, layout: Layout, stored: Sequence[tuple[int, bytes]]) -> Iterator[Piece]:
    """Segments that follow each other in the file together: a lost sector knows no tiles."""
    bits = page.bitspersample
    kind = np.dtype(page.parent.byteorder + "u2") if bits == 16 else np.dtype(np.uint8)
    samples = 1 if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE else page.samplesperpixel
    if bits not in (8, 16):
        kind, samples = np.dtype(np.uint8), max(1, samples * bits // 8)
    tile_rows = page.tilelength if page.is_tiled else 0
    begun: tuple[int, list[bytes]] | None = None
    end = -1
    for start, data in stored:
        joins = start == end
        if begun is not None and not joins:
            yield Piece(
                offset=begun[0],
                data=b"".join(begun[1]),
                stride=layout.stride,
                kind=kind,
                samples=samples,
                tile_rows=tile_rows,
            )
            begun = None
        begun = begun or (start, [])
        begun[1].append(data)
        end = start + len(data)
    if begun is not None:
        yield Piece(
            offset=begun[0],
            data=b"".join(begun[1]),
            stride=layout.stride,
            kind=kind,
            samples=samples,
            tile_rows=tile_rows,
        )
