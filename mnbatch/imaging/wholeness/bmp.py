"""BMP files: no checksum, no compression, rows from the bottom up."""

from __future__ import annotations

import struct

import numpy as np

from mnbatch.imaging.wholeness.blocks import Piece, check_blocks
from mnbatch.imaging.wholeness.damage import DamageError

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
    check_blocks([Piece(start, data[start : start + needed], stride, np.dtype(np.uint8), samples)])
