"""A copy whose room was made beforehand and which stopped half-way is unreadable; zero backgrounds are not."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.campaign.mutations import crops
from tests.imaging.imaging_helpers import read


def on_zero(number: int) -> np.ndarray:
    """A crop whose background is exactly zero."""
    picture = crops("fluorescence", number)
    grey = (picture.mean(axis=2) if picture.ndim == 3 else picture).astype(float)
    grey *= 255 / grey.max()
    return np.clip(grey - np.percentile(grey, 60) - 12, 0, 255).astype(np.uint8)


def encoded(picture: np.ndarray, kind: str) -> bytes:
    stream = io.BytesIO()
    if kind == "bmp":
        Image.fromarray(picture).save(stream, "BMP")
    elif kind == "tiles":
        tifffile.imwrite(stream, picture, photometric="minisblack", tile=(32, 32))
    else:
        tifffile.imwrite(stream, picture, photometric="minisblack", rowsperstrip=8 if kind == "strips" else None)
    return stream.getvalue()


def middle(picture: np.ndarray, data: bytes) -> int:
    """A byte in the middle of the row through the brightest part."""
    row = int(picture.sum(axis=1).argmax())
    place = row * picture.shape[1] + int(picture[row].argmax())
    return len(data) - picture.size + place if len(data) > picture.size else place


@pytest.mark.parametrize("kind", ["one strip", "strips"])
@pytest.mark.parametrize("number", range(4))
def test_a_half_written_tiff_on_zero_background_is_unreadable(tmp_path: Path, kind: str, number: int) -> None:
    picture = on_zero(number)
    data = encoded(picture, kind)
    assert not hasattr(read(tmp_path, data)[0], "reason")
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        start = tiff.pages[0].dataoffsets[0]
    cut = start + middle(picture, b"")
    (cell,) = read(tmp_path, data[:cut] + bytes(len(data) - cut))
    assert cell.reason  # type: ignore[union-attr]


@pytest.mark.parametrize("number", range(4))
def test_a_half_written_bmp_on_zero_background_is_unreadable(tmp_path: Path, number: int) -> None:
    picture = on_zero(number)
    data = encoded(picture, "bmp")
    assert not hasattr(read(tmp_path, data)[0], "reason")
    cut = middle(picture[::-1], data)
    (cell,) = read(tmp_path, data[:cut] + bytes(len(data) - cut))
    assert cell.reason  # type: ignore[union-attr]


def with_gaps(data: bytes) -> bytes:
    """The same file with its strips at its end, some bytes between each two of them."""
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages[0]
        spans = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        where = page.tags["StripOffsets"].valueoffset
        size = {3: 2, 4: 4}[int(page.tags["StripOffsets"].dtype)]
    offsets, tail = [], b""
    for start, length in spans:
        offsets.append(len(data) + len(tail))
        tail += data[start : start + length] + b"\7" * 6
    table = np.array(offsets, f"<u{size}").tobytes()
    return data[:where] + table + data[where + len(table) :] + tail[:-6]


@pytest.mark.parametrize("number", range(6))
def test_strips_with_gaps_between_them_are_read_and_their_lost_end_is_seen(tmp_path: Path, number: int) -> None:
    data = with_gaps(encoded(on_zero(number), "strips"))
    assert not hasattr(read(tmp_path, data)[0], "reason")
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        (picture,) = (page.asarray() for page in tiff.pages)
        row = int(picture.sum(axis=1).argmax())
        cut = tiff.pages[0].dataoffsets[row // 8] + row % 8 * picture.shape[1] + int(picture[row].argmax())
    (cell,) = read(tmp_path, data[:cut] + bytes(len(data) - cut))
    assert cell.reason  # type: ignore[union-attr]


def test_half_written_tiffs_of_tiles_on_zero_background_are_unreadable(tmp_path: Path) -> None:
    found = []
    for number in range(12):
        data = encoded(on_zero(number), "tiles")
        assert not hasattr(read(tmp_path, data)[0], "reason")
        (cell,) = read(tmp_path, data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
        found.append(bool(getattr(cell, "reason", "")))
    # One that stops between its nuclei, or where one ends, cannot be known.
    assert sum(found) >= 10


@pytest.mark.parametrize("kind", ["one strip", "strips", "tiles", "bmp"])
def test_masked_crops_are_whole(tmp_path: Path, kind: str) -> None:
    for number in range(25):
        picture = on_zero(number)
        picture[picture < 20 + 3 * number] = 0
        assert not hasattr(read(tmp_path, encoded(picture, kind))[0], "reason"), number
