"""How samples are meant: smallest value white, no photometric tag, YCbCr, a fourth sample; in crops, as in fields."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile

from mnbatch.assay.cells import CellCrop, UnreadableCell
from mnbatch.imaging.formats.decoding import decode_page
from mnbatch.imaging.formats.tiff_headers import open_tiff
from tests.imaging.page_files import cell, read_slide, slide_of, written


def first_page(content: bytes) -> np.ndarray:
    stream = io.BytesIO(content)
    tiff, header = open_tiff(stream)
    return decode_page(tiff.pages.first.aspage(), header.size)


def without_tag(content: bytes, tag: int) -> bytes:
    """The same TIFF, of which a tag of the first directory has another number that means nothing."""
    with tifffile.TiffFile(io.BytesIO(content)) as tiff:
        start = tiff.pages.first.offset
    (count,) = struct.unpack_from("<H", content, start)
    changed = bytearray(content)
    for i in range(count):
        if struct.unpack_from("<H", content, start + 2 + 12 * i)[0] == tag:
            struct.pack_into("<H", changed, start + 2 + 12 * i, 60000)
    return bytes(changed)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.int8, np.float32])
@pytest.mark.parametrize("tiled", [False, True])
def test_where_the_smallest_value_is_white_it_becomes_bright(kind: type, tiled: bool) -> None:
    bright = cell(3).astype(np.float64) / 255
    top = 1.0 if kind is np.float32 else float(np.iinfo(kind).max)
    stored = ((1 - bright) * top).astype(kind)
    options = {"photometric": "miniswhite", "metadata": None, **({"tile": (32, 32)} if tiled else {})}
    read = first_page(written(stored, each=options))
    assert np.corrcoef(read.ravel(), bright.ravel())[0, 1] > 0.99
    assert read.min() >= 0
    assert float(read.max()) <= top


def test_negative_values_keep_their_order() -> None:
    stored = (cell(3).astype(np.int16) - 100) * 90
    read = first_page(written(stored, each={"photometric": "miniswhite", "metadata": None}))
    assert read.dtype == np.uint16
    assert np.corrcoef(read.ravel(), -stored.astype(float).ravel())[0, 1] > 0.99


def test_without_a_photometric_tag_small_values_are_dark_as_in_libtiff() -> None:
    assert np.array_equal(first_page(without_tag(written(cell(3)), 262)), cell(3))
    colour = np.dstack([cell(3)] * 3)
    stored = without_tag(written(colour, each={"photometric": "rgb", "metadata": None}), 262)
    assert np.array_equal(first_page(stored), colour)


def test_stored_ycbcr_becomes_rgb() -> None:
    rng = np.random.default_rng(2)
    rgb = rng.integers(40, 215, (64, 64, 3)).astype(np.float64)
    y = rgb @ (0.299, 0.587, 0.114)
    cb, cr = (rgb[..., 2] - y) / 1.772 + 128, (rgb[..., 0] - y) / 1.402 + 128
    stored = np.dstack([y, cb, cr]).round().astype(np.uint8)
    content = written(stored, each={"photometric": "ycbcr", "metadata": None, "subsampling": (1, 1)})
    read = first_page(content)
    assert np.abs(read.astype(float) - rgb).max() < 4


def test_a_fourth_sample_that_may_be_a_stain_is_no_opacity(tmp_path: Path) -> None:
    stains = np.dstack([cell(i) for i in range(4)])
    options = {"photometric": "rgb", "metadata": None, "extrasamples": ["unspecified"]}
    (found,) = read_slide(slide_of(tmp_path, {"a.tif": written(stains, each=options)}))
    assert isinstance(found, UnreadableCell)
    assert "fourth sample" in found.reason
    filled = np.dstack([stains[..., :3], np.full((64, 64), 255, np.uint8)])
    (found,) = read_slide(slide_of(tmp_path / "b", {"a.tif": written(filled, each=options)}))
    assert isinstance(found, CellCrop)


def test_planes_of_colour_are_checked_for_blank_tiles_each(tmp_path: Path) -> None:
    """A tile of zeros in the second plane of a planar tiled page, uncompressed, is a lost one."""
    planes = np.stack([cell(i, 256) for i in range(3)])
    options = {"photometric": "rgb", "planarconfig": "separate", "metadata": None, "tile": (64, 64)}
    whole = written(planes, each=options)
    with tifffile.TiffFile(io.BytesIO(whole)) as tiff:
        page = tiff.pages.first
        places = [(page.dataoffsets[16 * plane + 5], page.databytecounts[16 * plane + 5]) for plane in range(3)]
    assert isinstance(read_slide(slide_of(tmp_path / "w", {"a.tif": whole}))[0], CellCrop)
    for plane, (start, size) in enumerate(places):
        lost = whole[:start] + bytes(size) + whole[start + size :]
        (found,) = read_slide(slide_of(tmp_path / str(plane), {"a.tif": lost}))
        assert isinstance(found, UnreadableCell), plane
