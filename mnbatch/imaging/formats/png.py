"""PNG: every chunk has a checksum; 16-bit colour is kept."""

from __future__ import annotations

import struct
import zlib

import imagecodecs
import numpy as np

from mnbatch.assay.reasons import Foreign, say
from mnbatch.imaging.formats.pixels import (
    Decoded,
    PictureFormat,
    check_bytes,
    check_size,
    decode_with_pillow,
    without_alpha,
)

_PNG_HEADER = struct.Struct(">8s4x4sIIBB")
_PNG_CHUNK = struct.Struct(">I4s")
_PNG_CRC = struct.Struct(">I")
_GREY, _RGB = 0, 2
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}


def _decode_png(data: bytes) -> Decoded:
    _, chunk, width, height, depth, colour = _PNG_HEADER.unpack_from(data)
    if chunk != b"IHDR":
        raise ValueError(say("no-header"))
    check_size(width, height)
    check_bytes(width * height * _PNG_CHANNELS.get(colour, 4) * (2 if depth == 16 else 1))
    _check_chunks(data)
    # Pillow reduces 16-bit colour to 8 bit; imagecodecs does not, and is faster.
    if depth == 16 or (depth == 8 and colour in (_GREY, _RGB)):
        return without_alpha(np.asarray(imagecodecs.png_decode(data)))
    return decode_with_pillow(data, "PNG")


def _check_chunks(data: bytes) -> None:
    """Verify the checksums: decoders only warn when they fail in the pixels, and go on with wrong ones."""
    start, kind = 8, b""
    while kind != b"IEND":
        length, kind = _PNG_CHUNK.unpack_from(data, start)
        end = start + 8 + length
        (expected,) = _PNG_CRC.unpack_from(data, end)
        if zlib.crc32(data[start + 4 : end]) != expected:
            raise ValueError(say("checksum", chunk=Foreign(repr(kind.decode("latin-1")), "a chunk")))
        start = end + 4


PNG = PictureFormat("png", ("png",), lambda data: data[:8] == b"\x89PNG\r\n\x1a\n", _decode_png)
