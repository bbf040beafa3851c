"""JPEG: decoded by Pillow, and once more strictly, because libjpeg only warns of what is missing."""

from __future__ import annotations

from mnbatch.imaging.formats.pixels import Decoded, PictureFormat, decode_with_pillow
from mnbatch.imaging.formats.size_limits import check_scans
from mnbatch.imaging.wholeness.jpeg_bmp import check_jpeg


def _decode(data: bytes) -> Decoded:
    check_scans(data)
    decoded = decode_with_pillow(data, "JPEG")
    check_jpeg(data)
    return decoded


JPEG = PictureFormat("jpeg", ("jpg", "jpeg"), lambda data: data[:3] == b"\xff\xd8\xff", _decode)
