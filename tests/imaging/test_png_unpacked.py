"""PNGs that are unpacked by libdeflate first: the pixels are those of libpng, and what is odd is left to it."""

from __future__ import annotations

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from mnbatch.imaging.formats import png
from mnbatch.imaging.formats.png import PNG

HEIGHT, WIDTH = 40, 33


def picture(kind: str) -> np.ndarray:
    rng = np.random.default_rng(4)
    rows = np.cumsum(rng.integers(0, 9, (HEIGHT, WIDTH, 4)), axis=0)
    values = rows.astype(np.uint16) * 97 if kind.endswith("16") else rows.astype(np.uint8)
    return values[..., 0] if kind.startswith("grey") else values[..., : 4 if kind.startswith("rgba") else 3]


def encoded(kind: str) -> bytes:
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(picture(kind))))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_pixels(data: bytes, *parts: bytes) -> bytes:
    """A PNG with other chunks in place of those of its pixels."""
    chunks = png._checked_chunks(data)
    first = next(start for kind, start, _ in chunks if kind == b"IDAT")
    return data[:first] + b"".join(parts) + chunk(b"IEND", b"")


def packed_pixels(data: bytes) -> bytes:
    return b"".join(data[start + 8 : end - 4] for kind, start, end in png._checked_chunks(data) if kind == b"IDAT")


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each PNG that is decoded, whether libdeflate unpacked it."""
    seen: list[bool] = []
    original = png._unpacked

    def noted(*arguments: object) -> bytes | None:
        found = original(*arguments)  # type: ignore[arg-type]
        seen.append(found is not None)
        return found

    monkeypatch.setattr(png, "_unpacked", noted)
    return seen


@pytest.mark.parametrize("kind", ["grey", "rgb", "grey16", "rgb16", "rgba16"])
def test_pixels_of_every_depth_and_colour_are_those_of_the_picture(kind: str, unpacked: list[bool]) -> None:
    wanted = picture(kind) if kind.startswith("grey") else picture(kind)[..., :3]
    assert np.array_equal(PNG.decode(encoded(kind)), wanted)
    assert unpacked == [True]


def test_pixels_in_several_chunks_and_texts_beside_them_are_kept(unpacked: list[bool]) -> None:
    data = encoded("rgb")
    packed = packed_pixels(data)
    parts = [chunk(b"IDAT", packed[:7]), chunk(b"IDAT", b""), chunk(b"IDAT", packed[7:]), chunk(b"tEXt", b"a\0b")]
    assert np.array_equal(PNG.decode(with_pixels(data, chunk(b"pHYs", bytes(9)), *parts)), picture("rgb"))
    assert unpacked == [True]


def odd_ones() -> dict[str, bytes]:
    data = encoded("grey")
    packed = packed_pixels(data)
    rows = zlib.decompress(packed)
    apart = [chunk(b"IDAT", packed[:9]), chunk(b"tEXt", b"a\0b"), chunk(b"IDAT", packed[9:])]
    return {
        "cut": with_pixels(data, chunk(b"IDAT", packed[: len(packed) // 2])),
        "wrong sum": with_pixels(data, chunk(b"IDAT", packed[:-1] + bytes([packed[-1] ^ 1]))),
        "too few rows": with_pixels(data, chunk(b"IDAT", zlib.compress(rows[:-40]))),
        "too many rows": with_pixels(data, chunk(b"IDAT", zlib.compress(rows + rows))),
        "no pixels": with_pixels(data),
        "pixels apart": with_pixels(data, *apart),
    }


@pytest.mark.parametrize("name", odd_ones())
def test_what_is_odd_is_left_to_libpng_as_it_came(name: str, unpacked: list[bool]) -> None:
    data = odd_ones()[name]

    def said(decode: object) -> object:
        try:
            return decode(data).tolist()  # type: ignore[operator]
        except Exception as error:  # noqa: BLE001 - whatever libpng raises
            return type(error), str(error)

    assert said(PNG.decode) == said(imagecodecs.png_decode)
    assert unpacked == [False]


def test_an_interlaced_picture_is_left_to_libpng(unpacked: list[bool]) -> None:
    stream = io.BytesIO()
    Image.fromarray(picture("rgb")).save(stream, "PNG")
    data = bytearray(stream.getvalue())
    data[28] = 1  # says that it is interlaced, which its pixels are not: libpng alone decides what that is
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    with pytest.raises(RuntimeError):
        PNG.decode(bytes(data))
    assert unpacked == [False]
