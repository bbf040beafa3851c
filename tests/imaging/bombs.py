"""Small files that ask for much: made tag by tag, because no writer would write them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

SHORT, LONG, LONG8 = 3, 4, 16
Tag = tuple[int, int, int | Sequence[int] | bytes]


def directory(tags: Sequence[Tag], at: int, following: int = 0) -> bytes:
    """One directory of a classic TIFF (little-endian) that lies at `at`, with its longer values behind it."""
    table, behind = b"", b""
    behind_at = at + 2 + 12 * len(tags) + 4
    for tag, kind, value in sorted(tags, key=lambda one: one[0]):
        raw, count = _raw(kind, value)
        if len(raw) > 4:
            raw, behind = struct.pack("<I", behind_at + len(behind)), behind + raw
        table += struct.pack("<HHI", tag, kind, count) + raw.ljust(4, b"\0")
    return struct.pack("<H", len(tags)) + table + struct.pack("<I", following) + behind


def _raw(kind: int, value: int | Sequence[int] | bytes) -> tuple[bytes, int]:
    if isinstance(value, bytes):
        return value, len(value)
    values = [value] if isinstance(value, int) else list(value)
    letter = {SHORT: "H", LONG: "I"}[kind]
    return struct.pack(f"<{len(values)}{letter}", *values), len(values)


def picture_tags(
    width: int, height: int, *, compression: int = 1, bits: int = 8, samples: int = 1, offset: int = 8, count: int = 1
) -> list[Tag]:
    """Tags of an image in one strip."""
    return [
        (256, LONG, width),
        (257, LONG, height),
        (258, SHORT, [bits] * samples),
        (259, SHORT, compression),
        (262, SHORT, 2 if samples > 2 else 1),
        (273, LONG, offset),
        (277, SHORT, samples),
        (278, LONG, height),
        (279, LONG, count),
    ]


def one_page(tags: Sequence[Tag], strip: bytes, *, following: int | None = None) -> bytes:
    """A TIFF of one page whose strip lies at byte 8; its directory may name a following one."""
    at = 8 + len(strip) + len(strip) % 2
    head = struct.pack("<2sHI", b"II", 42, at) + strip.ljust(at - 8, b"\0")
    return head + directory(tags, at, following or 0)


def pointing_to_itself(width: int = 96, height: int = 96) -> bytes:
    """A readable page whose directory says that the next one is itself."""
    strip = bytes(range(256)) * (width * height // 256)
    at = 8 + len(strip)
    return one_page(picture_tags(width, height, count=len(strip)), strip, following=at)


def pages_of_one_strip(pages: int, strip: bytes, width: int, height: int, compression: int) -> bytes:
    """Pages that all say that their pixels are the same strip."""
    data = struct.pack("<2sHI", b"II", 42, 8 + len(strip)) + strip
    for index in range(pages):
        tags = picture_tags(width, height, compression=compression, count=len(strip))
        size = len(directory(tags, len(data)))
        data += directory(tags, len(data), 0 if index == pages - 1 else len(data) + size)
    return data
