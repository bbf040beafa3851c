"""Galleries of which pages are lost: each lost page is an unreadable cell, or the slide fails."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile

from mnbatch.assay.cells import CellCrop, UnreadableCell
from mnbatch.errors import SlideError
from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.fields.field_images import load_fields
from mnbatch.imaging.readers import read_cells, read_tasks
from tests.imaging.imaging_helpers import NATURAL, draw_cell, put

PAGES, KEPT = 40, 27


def gallery(**options: object) -> bytes:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream, bigtiff=bool(options.pop("bigtiff", False))) as writer:
        for seed in range(PAGES):
            page = draw_cell(size=48, seed=seed)
            writer.write(page, photometric="minisblack", metadata=None, contiguous=False, **options)
    return stream.getvalue()


def stack(**options: object) -> bytes:
    stream = io.BytesIO()
    cells = np.stack([draw_cell(size=48, seed=seed) for seed in range(PAGES)])
    tifffile.imwrite(stream, cells, photometric="minisblack", **options)
    return stream.getvalue()


def chained_to(data: bytes, target: int) -> bytes:
    """The same file, of which page 27 is followed by what lies at `target`."""
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        start, big = tiff.pages[KEPT - 1].offset, tiff.is_bigtiff
    (count,) = struct.unpack_from("<Q" if big else "<H", data, start)
    changed = bytearray(data)
    struct.pack_into("<Q" if big else "<I", changed, start + (8 + 20 * count if big else 2 + 12 * count), target)
    return bytes(changed)


def read(export: Path, data: bytes) -> list[CellCrop | UnreadableCell]:
    put(export, "g.tif", data)
    (slide,) = find_slides(export, layout="tiff-galleries")
    return [cell for task in read_tasks(slide) for cell in read_cells(task, NATURAL)]


FILES = {
    "plain": gallery(),
    "lzw": gallery(compression="lzw"),
    "big": gallery(bigtiff=True, compression="zlib"),
    "described": stack(),
    "imagej": stack(imagej=True),
    "ome": stack(ome=True),
}


@pytest.mark.parametrize("limit", [1000, 10**9])
@pytest.mark.parametrize("target", [0, 1 << 30, 16])
@pytest.mark.parametrize("name", FILES)
def test_lost_pages_are_unreadable_cells(
    export: Path, monkeypatch: pytest.MonkeyPatch, name: str, target: int, limit: int
) -> None:
    monkeypatch.setattr("mnbatch.imaging.readers._LARGE_FILE", limit)
    cells = read(export, chained_to(FILES[name], target))
    if (name, target) == ("big", 16):
        # There lies the first page: directories that go round in a circle are refused before anything is decoded.
        assert cells
        assert all(isinstance(cell, UnreadableCell) for cell in cells)
        return
    assert sum(isinstance(cell, CellCrop) for cell in cells) == KEPT
    assert sum(isinstance(cell, UnreadableCell) for cell in cells) == PAGES - KEPT


@pytest.mark.parametrize("name", FILES)
def test_a_whole_gallery_lacks_nothing(export: Path, name: str) -> None:
    assert sum(isinstance(cell, CellCrop) for cell in read(export, FILES[name])) == PAGES


@pytest.mark.parametrize("limit", [1000, 10**9])
def test_a_gallery_that_was_cut_off_fails(export: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr("mnbatch.imaging.readers._LARGE_FILE", limit)
    with pytest.raises(SlideError, match="breaks off after page"):
        read(export, FILES["lzw"][: 2 * len(FILES["lzw"]) // 3])


def test_a_directory_that_was_written_anew_is_no_lost_page(export: Path) -> None:
    data = FILES["plain"]
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        start = tiff.pages.first.offset
    (count,) = struct.unpack_from("<H", data, start)
    changed = bytearray(data + data[start : start + 6 + 12 * count])
    struct.pack_into("<I", changed, 4, len(data))
    assert sum(isinstance(cell, CellCrop) for cell in read(export, bytes(changed))) == PAGES


def test_lost_fields_are_set_aside(tmp_path: Path) -> None:
    path = put(tmp_path, "f.tif", chained_to(FILES["plain"], 0))
    problems = [bool(image.problem) for image in load_fields(str(path), None)[1]]
    assert problems == [False] * KEPT + [True] * (PAGES - KEPT)
