"""JPEG and PNG files of several pictures are unreadable: one alone would be read, and the other cells lost unseen."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from tests.imaging.imaging_helpers import crop_of, draw_cell, encoded, reason_of


def pictures(count: int) -> list[Image.Image]:
    return [Image.fromarray(draw_cell(seed=seed)) for seed in range(count)]


def saved(kind: str, count: int, **options: object) -> bytes:
    first, *others = pictures(count)
    stream = io.BytesIO()
    first.save(stream, kind, save_all=True, append_images=others, **options)
    return stream.getvalue()


def with_types(data: bytes, kinds: list[int]) -> bytes:
    """An MPO whose index states other types of its pictures."""
    start = data.index(b"MPF\0") + 4
    changed = bytearray(data)
    (first,) = struct.unpack_from("<I", data, start + 4)
    (tags,) = struct.unpack_from("<H", data, start + first)
    for number in range(tags):
        tag, _, _, value = struct.unpack_from("<HHII", data, start + first + 2 + 12 * number)
        if tag == 0xB002:
            for place, kind in enumerate(kinds):
                struct.pack_into("<I", changed, start + value + 16 * place, kind)
    return bytes(changed)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize("count", [2, 6])
def test_an_mpo_is_unreadable(tmp_path: Path, count: int) -> None:
    assert f"JPEG (MPO) of {count} pictures" in reason_of(tmp_path, saved("MPO", count))


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("default", [False, True])
def test_an_animated_png_is_unreadable(tmp_path: Path, count: int, default: bool) -> None:
    assert f"PNG of {count} pictures" in reason_of(tmp_path, saved("PNG", count, default_image=default))


def test_the_cameras_own_small_versions_are_no_pictures(tmp_path: Path) -> None:
    data = saved("MPO", 3)
    plain = crop_of(tmp_path, encoded(draw_cell(seed=0), "jpeg"))
    small = crop_of(tmp_path, with_types(data, [0x030000, 0x010001, 0x010002]))
    assert small.digest == plain.digest
    assert "of 2 pictures" in reason_of(tmp_path, with_types(data, [0x030000, 0x010001, 0x020002]))


def test_a_photograph_with_a_thumbnail_is_one_picture(tmp_path: Path) -> None:
    thumbnail = encoded(draw_cell(size=32, seed=1), "jpeg")
    ifd = struct.pack("<HHHII", 1, 0x0103, 3, 1, 6) + struct.pack("<I", 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + ifd + thumbnail
    data = encoded(draw_cell(seed=0), "jpeg", exif=exif)
    assert thumbnail in data
    crop_of(tmp_path, data)
    crop_of(tmp_path, encoded(draw_cell(seed=0), "jpeg", comment=b"MPF\0 is no index here"))


def test_an_index_of_pictures_that_is_damaged_is_said(tmp_path: Path) -> None:
    data = saved("MPO", 2)
    start = data.index(b"MPF\0") + 4
    broken = data[: start + 4] + struct.pack("<I", 1 << 30) + data[start + 8 :]
    assert "damaged" in reason_of(tmp_path, broken)


def test_an_animation_of_one_picture_is_read(tmp_path: Path) -> None:
    data = encoded(draw_cell(seed=0))
    control = chunk(b"acTL", struct.pack(">II", 1, 0))
    frame = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 96, 96, 0, 0, 1, 10, 0, 0))
    still = crop_of(tmp_path, data)
    assert crop_of(tmp_path, data[:33] + control + frame + data[33:]).digest == still.digest
    assert "PNG of 5 pictures" in reason_of(
        tmp_path, data[:33] + chunk(b"acTL", struct.pack(">II", 5, 0)) + frame + data[33:]
    )
