"""JPEG: decoded by Pillow, and once more strictly, because libjpeg only warns of what is missing."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from mnbatch.imaging.formats.pixels import Decoded, PictureFormat, check_single, decode_with_pillow
from mnbatch.imaging.formats.size_limits import check_scans
from mnbatch.imaging.wholeness.jpeg_bmp import check_jpeg

_MPF = b"MPF\0"
_PICTURES, _ENTRIES = 0xB001, 0xB002
_ENTRY = 16
_TYPE, _SMALL_VERSION = 0xFF0000, 0x010000
_MOST_TAGS = 64
_LAST = b"\xd9\xda"
"""Second bytes of the markers that end the headers: EOI and SOS."""

_ALONE = b"\x00\x01\xd0\xd1\xd2\xd3\xd4\xd5\xd6\xd7\xd8"
"""Those of markers without a length."""


def _decode(data: bytes) -> Decoded:
    check_scans(data)
    check_single("JPEG (MPO)", _pictures(data))
    decoded = decode_with_pillow(data, "JPEG")
    check_jpeg(data)
    return decoded


def _pictures(data: bytes) -> int:
    """Pictures of a file by its index (CIPA DC-007, Multi-Picture Format), smaller versions of one left out.

    Those are what cameras write beside each photograph, to show it on a screen.

    Raises:
        struct.error: the index is damaged, so that how many there are is not known.
    """
    return max((_listed(index) for index in _indices(data)), default=1)


def _indices(data: bytes) -> Iterator[bytes]:
    """The segments APP2 of multi-picture files, each from its TIFF header on."""
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data) and data[at + 1] not in _LAST:
        if data[at + 1] == 0xFF:  # a byte that fills up
            at += 1
        elif data[at + 1] in _ALONE:
            at += 2
        else:
            length = int.from_bytes(data[at + 2 : at + 4], "big")
            if data[at + 1] == 0xE2 and data.startswith(_MPF, at + 4):
                yield data[at + 8 : at + 2 + length]
            at += 2 + max(2, length)


def _listed(index: bytes) -> int:
    order = "<" if index[:2] == b"II" else ">"
    (first,) = struct.unpack_from(f"{order}I", index, 4)
    (tags,) = struct.unpack_from(f"{order}H", index, first)
    stated = 1
    kinds: list[int] = []
    for number in range(min(tags, _MOST_TAGS)):
        tag, _, size, value = struct.unpack_from(f"{order}HHII", index, first + 2 + 12 * number)
        if tag == _PICTURES:
            stated = value
        elif tag == _ENTRIES:
            places = range(value, value + min(size, len(index)) // _ENTRY * _ENTRY, _ENTRY)
            kinds = [struct.unpack_from(f"{order}I", index, place)[0] & _TYPE for place in places]
    return max(stated, len(kinds)) - sum(kind == _SMALL_VERSION for kind in kinds[1:])


JPEG = PictureFormat("jpeg", ("jpg", "jpeg"), lambda data: data[:3] == b"\xff\xd8\xff", _decode)
