"""BMP: no checksum, no compression; what is missing shows in its sizes and in its sectors."""

from __future__ import annotations

from mnbatch.imaging.formats.pixels import Decoded, PictureFormat, decode_with_pillow
from mnbatch.imaging.wholeness.jpeg_bmp import check_bmp

_SHORTEST = 18


def _decode(data: bytes) -> Decoded:
    decoded = decode_with_pillow(data, "BMP", "DIB")
    check_bmp(data)
    return decoded


BMP = PictureFormat("bmp", ("bmp",), lambda data: data[:2] == b"BM" and len(data) > _SHORTEST, _decode)
