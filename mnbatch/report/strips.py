"""Many crops in one picture file, without decoding and without loss.

A page opened from disk cannot read crops.bin, 2000 small files a slide would burden every copy, and base64 adds a
third. Baseline JPEGs with the same tables join as they are: one header, and the crops' scans divided by restart markers
(ITU-T T.81, B.2.1 and E.1.4), below each other. The bytes are those of the crops less their repeated headers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

CROPS_A_STRIP = 32
"""More save headers and files; fewer let a browser decode less for one crop."""

MOST_MCUS = 65535
MOST_ROWS = 65000
SOF0, DRI, SOS = 0xC0, 0xDD, 0xDA


@dataclass(frozen=True, slots=True)
class Parts:
    """A baseline JPEG in pieces.

    Attributes:
        header: from SOI to the end of the scan's header.
        height_at: where in `header` the picture's height stands.
        scan_at: where in `header` the scan's header begins.
        scan: entropy-coded data, without EOI.
        pitch: height of whole MCU rows, px.
        mcus: MCUs of the picture.
    """

    header: bytes
    height_at: int
    scan_at: int
    scan: bytes
    width: int
    height: int
    pitch: int
    mcus: int


@dataclass(frozen=True, slots=True)
class Strip:
    """A picture file with `number` crops below each other, each `height` px, one every `pitch` px.

    Of a crop that could not be joined only the proportions count: it is the whole picture.
    """

    data: bytes
    number: int
    width: int
    height: int
    pitch: int


def strips(jpegs: Iterable[bytes]) -> list[Strip]:
    """Join crops, in their order, into as few strips as their headers allow."""
    found: list[Strip] = []
    group: list[Parts] = []
    for jpeg in jpegs:
        part = split(jpeg)
        if group and (part is None or part.header != group[0].header or len(group) == _most(group[0])):
            found.append(_join(group))
            group = []
        if part is None:
            found.append(Strip(jpeg, 1, 1, 1, 1))
        else:
            group.append(part)
    return [*found, _join(group)] if group else found


def split(jpeg: bytes) -> Parts | None:
    """The pieces of a JPEG; None where it cannot be joined (progressive, or with restart intervals of its own)."""
    at, frame = 2, (0, 0, 0, 0, 0)
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF:
        marker = jpeg[at + 1]
        (length,) = struct.unpack_from(">H", jpeg, at + 2)
        if marker == SOF0:
            frame = _frame(jpeg, at)
        elif marker == DRI or (0xC1 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return None
        end = at + 2 + length
        if marker == SOS:
            width, height, pitch, mcus, height_at = frame
            if not mcus or jpeg[-2:] != b"\xff\xd9":
                return None
            return Parts(jpeg[:end], height_at, at, jpeg[end:-2], width, height, pitch, mcus)
        at = end
    return None


def _frame(jpeg: bytes, at: int) -> tuple[int, int, int, int, int]:
    """Width, height, pitch, MCUs, and where the height stands, from a frame header."""
    height, width, components = struct.unpack_from(">HHB", jpeg, at + 5)
    samplings = [jpeg[at + 11 + 3 * i] for i in range(components)]
    # A single component is never interleaved: its MCU is one block whatever its sampling says.
    wide = 8 * max(s >> 4 for s in samplings) if components > 1 else 8
    high = 8 * max(s & 15 for s in samplings) if components > 1 else 8
    rows, columns = -(-height // high), -(-width // wide)
    return width, height, rows * high, rows * columns, at + 5


def _most(part: Parts) -> int:
    """How many crops of this form one file may hold."""
    return 1 if part.mcus > MOST_MCUS else max(1, min(CROPS_A_STRIP, MOST_ROWS // part.pitch))


def _join(parts: list[Parts]) -> Strip:
    first = parts[0]
    header = bytearray(first.header)
    interval = b""
    if len(parts) > 1:
        struct.pack_into(">H", header, first.height_at, first.pitch * len(parts))
        interval = struct.pack(">BBHH", 0xFF, DRI, 4, first.mcus)
    body = bytearray(first.scan)
    for number, part in enumerate(parts[1:]):
        body += bytes((0xFF, 0xD0 + number % 8))
        body += part.scan
    data = bytes(header[: first.scan_at]) + interval + bytes(header[first.scan_at :]) + bytes(body) + b"\xff\xd9"
    return Strip(data, len(parts), first.width, first.height, first.pitch)
