"""JPEG streams that end early or hold wrong codes: libjpeg only warns, and paints what it lacks in grey."""

from __future__ import annotations

import re

import simplejpeg

from mnbatch.imaging.wholeness.blocks import SECTOR
from mnbatch.imaging.wholeness.damage import DamageError

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
        # A blank ground can give zeros under optimised tables, but not from one sector's edge to another's.
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
