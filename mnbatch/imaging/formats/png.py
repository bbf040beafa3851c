"""PNG: every chunk has a checksum; 16-bit colour is kept."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import imagecodecs
import numpy as np

from mnbatch.assay.reasons import Foreign, say
from mnbatch.imaging.formats.pixels import (
    Decoded,
    PictureFormat,
    check_bytes,
    check_single,
    check_size,
    decode_with_pillow,
    without_alpha,
)

_PNG_HEADER = struct.Struct(">8s4x4sIIBB")
_PNG_CHUNK = struct.Struct(">I4s")
_PNG_CRC = struct.Struct(">I")
_GREY, _RGB = 0, 2
_FRAMES = struct.Struct(">I")
_INTERLACED_AT = 28
_ZLIB_HEAD = b"\x78\x01"
_BLOCK = struct.Struct("<BHH")
_MOST_STORED = 0xFFFF
_LARGEST_UNPACKED = 1 << 24
"""Bytes. Larger pictures are unpacked by libpng, row by row."""

_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}


def _decode_png(data: bytes) -> Decoded:
    _, chunk, width, height, depth, colour = _PNG_HEADER.unpack_from(data)
    if chunk != b"IHDR":
        raise ValueError(say("no-header"))
    check_size(width, height)
    check_bytes(width * height * _PNG_CHANNELS.get(colour, 4) * (2 if depth == 16 else 1))
    chunks = _checked_chunks(data)
    check_single("PNG", _pictures(data, chunks))
    # Pillow reduces 16-bit colour to 8 bit; imagecodecs does not, and is faster.
    if depth == 16 or (depth == 8 and colour in (_GREY, _RGB)):
        plain = _unpacked(data, chunks, height * (1 + width * _PNG_CHANNELS[colour] * depth // 8))
        return without_alpha(np.asarray(imagecodecs.png_decode(data if plain is None else plain)))
    return decode_with_pillow(data, "PNG")


def _checked_chunks(data: bytes) -> list[tuple[bytes, int, int]]:
    """Kind, begin and end (with its length and checksum) of each chunk.

    Raises:
        ValueError: a checksum is wrong; decoders only warn where that is in the pixels, and go on with wrong ones.
    """
    chunks: list[tuple[bytes, int, int]] = []
    start, kind, view = 8, b"", memoryview(data)
    while kind != b"IEND":
        length, kind = _PNG_CHUNK.unpack_from(data, start)
        end = start + 8 + length
        (expected,) = _PNG_CRC.unpack_from(data, end)
        if zlib.crc32(view[start + 4 : end]) != expected:
            raise ValueError(say("checksum", chunk=Foreign(repr(kind.decode("latin-1")), "a chunk")))
        chunks.append((kind, start, end + 4))
        start = end + 4
    return chunks


def _pictures(data: bytes, chunks: Sequence[tuple[bytes, int, int]]) -> int:
    """Pictures of an animated PNG (PNG 3rd edition, 11.3.6): its frames, and the one that is shown in their place.

    That one is itself a frame where the control chunk of a frame comes before its pixels.
    """
    kinds = [kind for kind, _, _ in chunks]
    if b"acTL" not in kinds and b"fcTL" not in kinds:
        return 1
    stated: list[int] = [_FRAMES.unpack_from(data, start + 8)[0] for kind, start, _ in chunks if kind == b"acTL"]
    before = kinds[: kinds.index(b"IDAT")] if b"IDAT" in kinds else kinds
    return max(kinds.count(b"fcTL"), *stated, 0) + (b"fcTL" not in before)


def _unpacked(data: bytes, chunks: Sequence[tuple[bytes, int, int]], size: int) -> bytes | None:
    """The same PNG with its pixels (filters and all) stored, not compressed; None where it has to be read as it is.

    libdeflate unpacks in half of the time that libpng takes for it, and copying stored bytes is next to nothing. What
    it refuses, and what does not give exactly the bytes that the header promises (interlaced pictures, damaged ones),
    is left to libpng.

    Args:
        size: bytes of all rows, each with its filter.
    """
    pixels = [place for place, (kind, _, _) in enumerate(chunks) if kind == b"IDAT"]
    together = bool(pixels) and pixels == list(range(pixels[0], pixels[-1] + 1))
    if size > _LARGEST_UNPACKED or data[_INTERLACED_AT] or not together:
        return None
    packed = b"".join([data[start + 8 : end - 4] for _, start, end in chunks[pixels[0] : pixels[-1] + 1]])
    try:
        rows = imagecodecs.deflate_decode(packed, out=size)
    except RuntimeError:
        return None
    if len(rows) != size:
        return None
    stored = _stored(rows)
    crc = zlib.crc32(stored, zlib.crc32(b"IDAT"))
    idat = [_PNG_CHUNK.pack(len(stored), b"IDAT"), stored, _PNG_CRC.pack(crc)]
    return b"".join([data[: chunks[pixels[0]][1]], *idat, data[chunks[pixels[-1]][2] :]])


def _stored(rows: bytes | bytearray) -> bytes:
    """A zlib stream of stored blocks (RFC 1950, RFC 1951, 3.2.4)."""
    parts: list[bytes | bytearray] = [_ZLIB_HEAD]
    for start in range(0, len(rows), _MOST_STORED):
        block = rows[start : start + _MOST_STORED]
        last = start + _MOST_STORED >= len(rows)
        parts += [_BLOCK.pack(last, len(block), len(block) ^ 0xFFFF), block]
    parts.append(_PNG_CRC.pack(zlib.adler32(rows)))
    return b"".join(parts)


PNG = PictureFormat("png", ("png",), lambda data: data[:8] == b"\x89PNG\r\n\x1a\n", _decode_png)
