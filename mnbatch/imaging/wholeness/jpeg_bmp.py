"""JPEG and BMP files that end early or hold wrong codes."""

from __future__ import annotations

import re
import struct

import numpy as np
import simplejpeg

from mnbatch.imaging.wholeness.cut_tails import check_tail
from mnbatch.imaging.wholeness.lost_sectors import SECTOR, DamageError, Piece, check_blocks

# BMP files: no checksum, no compression, rows from the bottom up.


_HEADER = struct.Struct("<2sI4xIIiiHHI")
_OLD_HEADER = struct.Struct("<2sI4xIIHHHH")
_OLD = 12
_PLAIN = (0, 3)


def check_bmp(data: bytes) -> None:
    """Compare the header with what is there, and look for lost sectors.

    Raises:
        DamageError: rows are missing, there are more than the header says, or sectors do not belong to the picture.
    """
    if len(data) < _HEADER.size:
        raise DamageError("header is cut")
    _, _, start, header, width, height, _, bits, method = _HEADER.unpack_from(data)
    if header == _OLD:
        _, _, start, header, width, height, _, bits = _OLD_HEADER.unpack_from(data)
        method = 0
    if method not in _PLAIN:
        return
    stride = (width * bits + 31) // 32 * 4
    needed = stride * abs(height)
    there = len(data) - start
    if there < needed:
        raise DamageError(f"{there} bytes of pixels, {needed} are needed")
    if stride and there - needed >= stride and not any(data[start + needed : start + needed + 16]):
        raise DamageError("more rows than its header says")
    samples = max(1, bits // 8)
    pixels = Piece(start, data[start : start + needed], stride, np.dtype(np.uint8), samples)
    check_blocks([pixels])
    check_tail(pixels)


# JPEG streams that end early or hold wrong codes: libjpeg only warns, and paints what it lacks in grey.


_WARNINGS = ("corrupt jpeg", "premature end", "inconsistent progression", "invalid sos")
"""Starts of libjpeg's messages that mean lost pixels. What it cannot decode at all, the decoder in use judges."""

_ZEROS = re.compile(rb"\x00{" + str(SECTOR).encode() + rb",}")


def check_jpeg(data: bytes, offset: int = 0) -> None:
    """Decode a stream strictly, at an eighth of its size: every code is read, few pixels are computed.

    Args:
        data: from SOI to EOI; what follows EOI does not matter.
        offset: of its first byte in the file.

    Raises:
        DamageError: it ends early, has no end marker, holds codes that do not exist or more than its rows need, or
            whole sectors of zeros.
    """
    message = _strictly(data)
    if message.lower().startswith(_WARNINGS):
        raise DamageError(message.rstrip("."))
    for run in _ZEROS.finditer(data):
        # A blank background can give zeros under optimised tables, but not from one sector's edge to another's.
        if (run.start() + offset) % SECTOR == 0 and (run.end() + offset) % SECTOR == 0:
            raise DamageError("whole sectors of its data are zero")


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) that a stream's own header states; None where it cannot be told."""
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except ValueError:
        return None
    return int(height), int(width)


def _strictly(data: bytes) -> str:
    """The first warning or error of libjpeg-turbo; "" where it has none."""
    try:
        colours = simplejpeg.decode_jpeg_header(data)[2]
        wanted = "CMYK" if colours == "CMYK" else "GRAY"
        simplejpeg.decode_jpeg(data, wanted, min_height=1, min_width=1, min_factor=8, strict=True)
    except ValueError as error:
        return str(error)
    return ""
