from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mnbatch.assay.cells import CellCrop, ReadTask, SourceFile, UnreadableCell
from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.formats import loading
from mnbatch.imaging.preparation import ContrastRule, Preparation
from mnbatch.imaging.readers import read_cells, read_tasks, slide_range
from tests.imaging.imaging_helpers import NATURAL, crop_of, draw_cell, encoded, put, read, reason_of, tiff

GREY = draw_cell()
COLOUR = draw_cell(light=True)
DEEP = GREY.astype(np.uint16) * 257
ALPHA = np.dstack([COLOUR, np.full(GREY.shape, 77, np.uint8)])
GREY_AS_RGB = np.repeat(GREY[..., None], 3, axis=-1)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(encoded(GREY, "png"), GREY_AS_RGB, id="png grey"),
        pytest.param(encoded(COLOUR, "png"), COLOUR, id="png rgb"),
        pytest.param(encoded(ALPHA, "png"), COLOUR, id="png rgba"),
        pytest.param(encoded(DEEP, "png"), GREY_AS_RGB, id="png 16 bit"),
        pytest.param(encoded(GREY, "bmp"), GREY_AS_RGB, id="bmp grey"),
        pytest.param(encoded(COLOUR, "bmp"), COLOUR, id="bmp rgb"),
        pytest.param(encoded(GREY, "tiff"), GREY_AS_RGB, id="tiff grey"),
        pytest.param(encoded(COLOUR, "tiff", compression="tiff_lzw"), COLOUR, id="tiff lzw"),
        pytest.param(encoded(COLOUR, "tiff", compression="tiff_adobe_deflate"), COLOUR, id="tiff deflate"),
        pytest.param(encoded(COLOUR, "tiff", compression="packbits"), COLOUR, id="tiff packbits"),
        pytest.param(tiff(COLOUR, compression="zlib", predictor=True), COLOUR, id="tiff predictor"),
        pytest.param(tiff(COLOUR, rowsperstrip=7), COLOUR, id="tiff strips"),
        pytest.param(tiff(COLOUR, tile=(32, 32)), COLOUR, id="tiff tiles"),
        pytest.param(tiff(ALPHA, extrasamples=["unassalpha"]), COLOUR, id="tiff rgba"),
        pytest.param(tiff(DEEP), GREY_AS_RGB, id="tiff 16 bit"),
        pytest.param(tiff(DEEP, byteorder=">"), GREY_AS_RGB, id="tiff big-endian"),
        pytest.param(tiff(DEEP, bigtiff=True), GREY_AS_RGB, id="bigtiff"),
        pytest.param(tiff(COLOUR.astype(np.uint16) * 257, photometric="rgb"), COLOUR, id="tiff rgb 16 bit"),
        pytest.param(tiff(255 - GREY, photometric="miniswhite"), GREY_AS_RGB, id="tiff white is zero"),
        pytest.param(
            tiff(np.moveaxis(COLOUR, -1, 0), photometric="rgb", planarconfig="separate"),
            COLOUR,
            id="tiff planar",
        ),
        pytest.param(tiff((GREY / 255).astype(np.float32)), GREY_AS_RGB, id="tiff float"),
        pytest.param(tiff((GREY / 255).astype(np.float16)), GREY_AS_RGB, id="tiff half float"),
    ],
)
def test_every_lossless_format_gives_the_pixels_it_was_made_from(
    tmp_path: Path, content: bytes, expected: np.ndarray
) -> None:
    crop = crop_of(tmp_path, content)
    assert crop.pixels.dtype == np.uint8
    np.testing.assert_array_equal(crop.pixels, expected)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(encoded(COLOUR, "jpeg", quality=98), id="jpeg"),
        pytest.param(encoded(COLOUR, "tiff", compression="jpeg", quality=98), id="tiff jpeg"),
        pytest.param(tiff(COLOUR, compression="jpeg", compressionargs={"level": 98}), id="tiff ycbcr jpeg"),
    ],
)
def test_jpeg_formats_give_nearly_the_pixels(tmp_path: Path, content: bytes) -> None:
    difference = crop_of(tmp_path, content).pixels.astype(int) - COLOUR
    assert np.abs(difference).mean() < 3


@pytest.mark.parametrize("fmt", ["png", "bmp", "tiff"])
def test_palettes_become_their_colours(tmp_path: Path, fmt: str) -> None:
    palette = Image.fromarray(COLOUR).quantize(64)
    stream = io.BytesIO()
    palette.save(stream, fmt)
    crop = crop_of(tmp_path, stream.getvalue())
    np.testing.assert_array_equal(crop.pixels, np.asarray(palette.convert("RGB")))


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    ink = Image.fromarray(COLOUR).convert("CMYK")
    for fmt in ("tiff", "jpeg"):
        stream = io.BytesIO()
        ink.save(stream, fmt)
        difference = crop_of(tmp_path, stream.getvalue()).pixels.astype(int) - COLOUR
        assert np.abs(difference).mean() < 4


def test_a_one_bit_image_is_read(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(GREY).convert("1").save(stream, "png")
    assert set(np.unique(crop_of(tmp_path, stream.getvalue()).pixels)) == {0, 255}


def test_the_content_decides_and_not_the_extension(tmp_path: Path) -> None:
    (cell,) = read(tmp_path, encoded(GREY, "png"), name="cell.tif")
    assert isinstance(cell, CellCrop)


def nan_tiff() -> bytes:
    values = (GREY / 255).astype(np.float32)
    values[3, 3] = np.nan
    return tiff(values)


def bomb_png() -> bytes:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


def resized_in_header(content: bytes, offset: int, layout: str, *sides: int) -> bytes:
    changed = bytearray(content)
    struct.pack_into(layout, changed, offset, *sides)
    return bytes(changed)


def damaged_png() -> bytes:
    content = bytearray(encoded(GREY, "png"))
    content[len(content) // 2] ^= 0xFF
    return bytes(content)


BAD = {
    "empty": (b"", "empty file"),
    "zeros": (b"\0" * 5000, "only zero bytes"),
    "pdf": (b"%PDF-1.7\n...", r"not an image \(PDF\)"),
    "web page": (b"<!DOCTYPE html>", "web page"),
    "gif": (b"GIF89a....", "GIF"),
    "webp": (b"RIFF\0\0\0\0WEBPVP8 ", "image format not supported"),
    "text": (b"hello", "unknown content"),
    "truncated png": (encoded(GREY, "png")[:-300], "damaged or truncated PNG"),
    "png header only": (encoded(GREY, "png")[:20], "damaged or truncated PNG"),
    "flipped bits in png": (damaged_png(), "checksum"),
    "truncated jpeg": (encoded(COLOUR, "jpeg")[:-400], "damaged or truncated JPEG"),
    "truncated bmp": (encoded(COLOUR, "bmp")[:-400], "damaged or truncated BMP"),
    "truncated tiff": (tiff(GREY)[:-400], "truncated TIFF"),
    "truncated deflate tiff": (tiff(GREY, compression="zlib")[:-400], "truncated TIFF"),
    "tiff without directory": (encoded(GREY, "tiff")[:-100], "truncated TIFF"),
    "tiff header only": (b"II*\0", "TIFF"),
    "nan": (nan_tiff(), "NaN or infinite"),
    "constant": (encoded(np.full((64, 64), 37, np.uint8)), r"constant image \(every value is 37\)"),
    "one pixel": (encoded(np.zeros((1, 1), np.uint8)), "at least 16"),
    "narrow tiff": (tiff(GREY[:15]), "at least 16"),
    "png bomb": (bomb_png(), "60000 x 60000 pixels; too large"),
    "bmp bomb": (
        resized_in_header(encoded(GREY, "bmp"), 18, "<ii", 30_000, 30_000),
        "too many pixels|too large",
    ),
    "two channels": (
        tiff(np.dstack([GREY] * 5), photometric="minisblack", planarconfig="contig"),
        "5 channels",
    ),
    "complex": (tiff(GREY.astype(np.complex64)), "are not an image"),
    "float out of range": (tiff(GREY.astype(np.float32)), "outside 0..1"),
    "labels": (tiff(COLOUR, photometric="cielab"), "CIELAB is not supported"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_a_cell_with_its_reason(tmp_path: Path, name: str) -> None:
    content, reason = BAD[name]
    (cell,) = read(tmp_path, content)
    assert isinstance(cell, UnreadableCell)
    assert not cell.transient
    assert cell.cell_id == "s-1:cell.img"
    assert cell.file_digest == hashlib.sha256(content).hexdigest()
    assert len(cell.reason) < 160
    assert re.search(reason, cell.reason), cell.reason


def test_a_header_that_promises_too_much_is_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*_: object, **__: object) -> None:
        pytest.fail("decoded")

    monkeypatch.setattr("mnbatch.imaging.formats.pixels.MAX_PIXELS", 1000)
    monkeypatch.setattr("tifffile.TiffPage.asarray", decode)
    monkeypatch.setattr("imagecodecs.png_decode", decode)
    for content in (tiff(GREY), encoded(GREY, "png"), encoded(COLOUR, "jpeg"), encoded(GREY, "bmp")):
        assert "too large for a cell crop" in reason_of(tmp_path, content)


def test_tiles_that_would_be_allocated_whole_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnbatch.imaging.formats.decoding.MAX_PIXELS", 10_000)
    assert "huge strips or tiles" in reason_of(tmp_path, tiff(GREY, tile=(256, 256)))


def test_a_file_too_large_to_be_a_crop_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_LARGEST_FILE", 100)
    assert "too large" in reason_of(tmp_path, encoded(GREY))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_never_raises(tmp_path: Path, data: st.DataObject) -> None:
    sources = [
        encoded(GREY),
        encoded(COLOUR, "jpeg"),
        encoded(GREY, "bmp"),
        tiff(GREY),
        tiff(DEEP, tile=(32, 32)),
    ]
    content = bytearray(data.draw(st.sampled_from(sources)))
    for position, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=8)
    ):
        content[position] = value
    cells = read(tmp_path, bytes(content[: data.draw(st.integers(0, len(content)))]))
    assert cells
    assert all(cell.pixels.shape == (96, 96, 3) for cell in cells if isinstance(cell, CellCrop))


def test_pages_are_cells_and_reduced_versions_are_not(tmp_path: Path) -> None:
    import tifffile

    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        writer.write(draw_cell(seed=1))
        writer.write(draw_cell(seed=1)[::2, ::2], subfiletype=1)
        writer.write(draw_cell(seed=2))
    cells = read(tmp_path, stream.getvalue())
    assert [(cell.page, cell.cell_id) for cell in cells] == [(0, "s-1:cell.img#0"), (2, "s-1:cell.img#2")]


def test_one_bad_page_leaves_the_others(tmp_path: Path) -> None:
    pages = np.stack([draw_cell(seed=seed) for seed in range(3)])
    pages[1] = 9
    cells = read(tmp_path, tiff(pages, photometric="minisblack"))
    assert [type(cell) for cell in cells] == [CellCrop, UnreadableCell, CellCrop]
    assert cells[1].page == 1


def gallery(pages: int, **options: object) -> bytes:
    stack = np.stack([draw_cell(seed=seed) for seed in range(pages)])
    return tiff(stack, photometric="minisblack", metadata=None, **options)


def test_a_large_gallery_is_read_in_runs_and_hashed_once(export: Path) -> None:
    content = gallery(130)
    put(export, "g.tif", content)
    (slide,) = find_slides(export, layout="tiff-galleries")
    tasks = list(read_tasks(slide))
    assert [len(task.pages or ()) for task in tasks] == [64, 64, 2]
    assert [task.hash_file for task in tasks] == [True, False, False]
    cells = [cell for task in tasks for cell in read_cells(task, NATURAL)]
    assert [cell.page for cell in cells] == list(range(130))
    assert len({cell.digest for cell in cells if isinstance(cell, CellCrop)}) == 130
    assert {cell.file_digest for cell in cells} == {hashlib.sha256(content).hexdigest(), ""}


def test_a_small_gallery_has_the_same_cells_as_a_large_one(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(export, "g.tif", gallery(5))
    (slide,) = find_slides(export, layout="tiff-galleries")
    small = [cell.cell_id for task in read_tasks(slide) for cell in read_cells(task, NATURAL)]
    monkeypatch.setattr("mnbatch.imaging.readers._LARGE_FILE", 1000)
    large = [cell.cell_id for task in read_tasks(slide) for cell in read_cells(task, NATURAL)]
    assert small == large == [f"{slide.slide_id}:g.tif#{page}" for page in range(5)]


@pytest.mark.parametrize("limit", [1000, 10**9])
def test_a_truncated_gallery_shows_that_cells_are_missing(
    export: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr("mnbatch.imaging.readers._LARGE_FILE", limit)
    content = gallery(6)
    put(export, "g.tif", content[: len(content) // 2])
    (slide,) = find_slides(export, layout="tiff-galleries")
    cells = [cell for task in read_tasks(slide) for cell in read_cells(task, NATURAL)]
    assert any(isinstance(cell, UnreadableCell) for cell in cells)


def test_identical_pixels_in_other_files_have_one_digest(tmp_path: Path) -> None:
    digests = {crop_of(tmp_path, content).digest for content in (encoded(GREY), tiff(GREY), encoded(GREY, "bmp"))}
    assert len(digests) == 1
    assert crop_of(tmp_path, encoded(draw_cell(seed=5))).digest not in digests
    assert crop_of(tmp_path, tiff(DEEP)).digest not in digests


def test_preparation_is_no_part_of_the_digest(tmp_path: Path) -> None:
    one = crop_of(tmp_path, encoded(GREY), NATURAL)
    other = crop_of(tmp_path, encoded(GREY), Preparation(size=64))
    assert one.digest == other.digest


def test_a_vanished_file_and_a_forbidden_one_may_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (gone,) = read_cells(ReadTask("s-1", tmp_path, SourceFile("gone.png", 9, 0)), NATURAL)
    assert isinstance(gone, UnreadableCell)
    assert gone.transient
    assert "disappeared" in gone.reason

    def forbid(path: str) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(loading, "read_whole", forbid)
    (closed,) = read(tmp_path, encoded(GREY))
    assert isinstance(closed, UnreadableCell)
    assert closed.transient
    assert "permission" in closed.reason


def test_a_forbidden_file_is_excluded(tmp_path: Path) -> None:
    path = put(tmp_path, "cell.img", encoded(GREY))
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    (cell,) = read_cells(ReadTask("s-1", tmp_path, SourceFile("cell.img", 9, 0)), NATURAL)
    assert isinstance(cell, UnreadableCell)


@pytest.mark.parametrize(("failures", "readable"), [(2, True), (3, False)])
def test_io_errors_are_tried_three_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int, readable: bool
) -> None:
    real, attempts = loading.read_whole, []

    def flaky(path: str) -> bytes:
        attempts.append(path)
        if len(attempts) <= failures:
            raise OSError(errno.EIO, "Input/output error")
        return real(path)

    monkeypatch.setattr(loading, "read_whole", flaky)
    monkeypatch.setattr(loading.time, "sleep", lambda _: None)
    (cell,) = read(tmp_path, encoded(GREY))
    assert isinstance(cell, CellCrop) == readable
    assert len(attempts) == 3
    if isinstance(cell, UnreadableCell):
        assert cell.transient
        assert "Input/output error" in cell.reason


def test_an_io_error_inside_a_gallery_may_pass(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(export, "g.tif", gallery(4))
    task = ReadTask("s-1", export, SourceFile("g.tif", 1, 0), (0, 1, 2, 3))

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("tifffile.TiffPage.asarray", fail)
    monkeypatch.setattr(loading.time, "sleep", lambda _: None)
    cells = read_cells(task, NATURAL)
    assert [(cell.page, cell.transient) for cell in cells if isinstance(cell, UnreadableCell)] == [
        (page, True) for page in range(4)
    ]


def test_threads_read_what_one_thread_reads(tmp_path: Path) -> None:
    tasks = []
    for seed in range(24):
        content = tiff(draw_cell(seed=seed)) if seed % 2 else encoded(draw_cell(seed=seed))
        put(tmp_path, f"{seed}.img", content)
        tasks.append(ReadTask("s-1", tmp_path, SourceFile(f"{seed}.img", len(content), 0)))
    alone = [read_cells(task, Preparation())[0] for task in tasks]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda task: read_cells(task, Preparation())[0], tasks))
    for one, other in zip(alone, together, strict=True):
        assert isinstance(one, CellCrop)
        assert isinstance(other, CellCrop)
        np.testing.assert_array_equal(one.pixels, other.pixels)
        assert (one.digest, one.quality) == (other.digest, other.quality)


def test_the_range_of_a_slide_is_the_same_whenever_it_is_asked(export: Path) -> None:
    rule = Preparation(contrast=ContrastRule(rule="per_slide", low_percentile=1, high_percentile=99))
    for seed in range(50):
        put(export, f"s/{seed}.tif", tiff((draw_cell(seed=seed) * 16.0).astype(np.uint16)))
    put(export, "s/0.tif", b"broken")
    (slide,) = find_slides(export)
    limits = slide_range(slide, rule)
    assert limits == slide_range(slide, rule)
    assert limits is not None
    assert 0 < limits[0] < 300 < 2000 < limits[1] < 4096
    assert slide_range(slide, Preparation()) is None


def test_without_a_range_no_cell_of_the_slide_is_guessed(export: Path) -> None:
    rule = Preparation(contrast=ContrastRule(rule="per_slide"))
    put(export, "s/1.png", b"broken")
    (slide,) = find_slides(export)
    assert slide_range(slide, rule) is None
    assert "no contrast range" in reason_of(export, encoded(GREY), rule)
