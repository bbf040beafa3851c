"""A small DICOM whole slide (TILED_FULL, explicit VR, little endian, uncompressed RGB), as bytes."""

from __future__ import annotations

import struct

import numpy as np

_LONG = frozenset(("OB", "SQ"))
_WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
_EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"


def element(tag: int, kind: str, value: str | int | float | bytes) -> bytes:
    if isinstance(value, int):
        value = struct.pack("<H" if kind == "US" else "<I", value)
    elif isinstance(value, float):
        value = struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    data += (b"\0" if kind in ("UI", "OB") else b" ") * (len(data) % 2)
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + kind.encode()
    return (
        head
        + struct.pack("<HI" if kind in _LONG else "<H", *((0, len(data)) if kind in _LONG else (len(data),)))
        + data
    )


def sequence(tag: int, item: bytes) -> bytes:
    return element(tag, "SQ", struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item)


def dicom_slide(picture: np.ndarray, *, tile: int = 64, series: str = "1.2.3", um: float = 0.25) -> bytes:
    """`picture`: (height, width, 3), uint8."""
    height, width = picture.shape[:2]
    down, across = -(-height // tile), -(-width // tile)
    padded = np.zeros((down * tile, across * tile, 3), np.uint8)
    padded[:height, :width] = picture
    tiles = padded.reshape(down, tile, across, tile, 3).swapaxes(1, 2)
    instance = f"{series}.{width}"
    meta = b"".join(
        (
            element(0x00020001, "OB", b"\0\1"),
            element(0x00020002, "UI", _WHOLE_SLIDE),
            element(0x00020003, "UI", instance),
            element(0x00020010, "UI", _EXPLICIT_LITTLE),
            element(0x00020012, "UI", "1.2.3"),
        )
    )
    size = f"{um / 1000:.6g}"
    measures = element(0x00180050, "DS", "0.001") + element(0x00280030, "DS", f"{size}\\{size}")
    content = (
        element(0x00080008, "CS", "ORIGINAL\\PRIMARY\\VOLUME\\NONE"),
        element(0x00080016, "UI", _WHOLE_SLIDE),
        element(0x00080018, "UI", instance),
        element(0x00080060, "CS", "SM"),
        element(0x0020000D, "UI", "1.2.9"),
        element(0x0020000E, "UI", series),
        element(0x00200052, "UI", f"{series}.8"),
        element(0x00209311, "CS", "TILED_FULL"),
        element(0x00280002, "US", 3),
        element(0x00280004, "CS", "RGB"),
        element(0x00280006, "US", 0),
        element(0x00280008, "IS", str(down * across)),
        *(element(tag, "US", tile) for tag in (0x00280010, 0x00280011)),
        *(
            element(tag, "US", bits)
            for tag, bits in ((0x00280100, 8), (0x00280101, 8), (0x00280102, 7), (0x00280103, 0))
        ),
        element(0x00480001, "FL", width * um / 1000),
        element(0x00480002, "FL", height * um / 1000),
        element(0x00480006, "UL", width),
        element(0x00480007, "UL", height),
        element(0x00480303, "UL", 1),
        sequence(0x52009229, sequence(0x00289110, measures)),
        element(0x7FE00010, "OB", tiles.tobytes()),
    )
    return b"\0" * 128 + b"DICM" + element(0x00020000, "UL", len(meta)) + meta + b"".join(content)
