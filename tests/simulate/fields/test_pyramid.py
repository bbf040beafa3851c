"""Simulated whole slides: OpenSlide opens them, the levels agree, the memory does not grow with the slide."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tifffile

from mnbatch.simulate.export_plan import ExportPlan
from mnbatch.simulate.fields.field_export import simulate_fields
from mnbatch.simulate.fields.field_files import TILE, level_sizes, tile_counts, write_pyramid
from mnbatch.simulate.fields.field_plan import FieldPlan

SLIDE = FieldPlan(
    export=ExportPlan(donors=1, slides=1, doses=(4.0,), seed=3, variety=0.2, stain="giemsa"),
    kind="wsi",
    width=1301,
    height=1157,
)


def tiles_of(picture: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.uint8]]:
    columns, rows = tile_counts(picture.shape[1], picture.shape[0])
    padded = np.zeros((rows * TILE, columns * TILE, *picture.shape[2:]), dtype=np.uint8)
    padded[: picture.shape[0], : picture.shape[1]] = picture
    for row in range(rows):
        for column in range(columns):
            yield padded[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]


def smooth_picture(width: int, height: int, channels: int) -> npt.NDArray[np.uint8]:
    ys, xs = np.mgrid[:height, :width]
    planes = [128 + 100 * np.sin(xs / (60 + 20 * k)) * np.cos(ys / (75 - 10 * k)) for k in range(channels)]
    return np.squeeze(np.stack(planes, -1)).astype(np.uint8)


@pytest.mark.parametrize(("width", "height", "channels"), [(1601, 1023, 3), (513, 2049, 1), (400, 300, 3)])
def test_levels_are_the_picture_reduced(tmp_path: Path, width: int, height: int, channels: int) -> None:
    picture = smooth_picture(width, height, channels)
    path = tmp_path / "slide.tif"
    levels = write_pyramid(path, tmp_path, width, height, channels, 0.25, tiles_of(picture))
    assert [p.name for p in tmp_path.iterdir()] == ["slide.tif"]
    assert levels == level_sizes(width, height)
    with tifffile.TiffFile(path) as tiff:
        stored = [page.asarray() for page in tiff.pages]
    assert [(level.shape[1], level.shape[0]) for level in stored] == levels
    for number, level in enumerate(stored):
        step = 2**number
        centres = [
            np.minimum((np.arange(n) + 0.5) * step - 0.5, full - 1)
            for n, full in zip(level.shape, (height, width), strict=False)
        ]
        wanted = picture[np.ix_(*(np.rint(c).astype(int) for c in centres))]
        assert np.abs(level.astype(int) - wanted).max() <= 12 + 2 * step


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate_fields(tmp_path_factory.mktemp("wsi") / "x", SLIDE).export.parent


def truth_of(slide: Path) -> list[dict[str, str]]:
    with (slide / "truth.csv").open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_openslide_opens_it_and_knows_the_pixel_size(slide: Path) -> None:
    openslide = pytest.importorskip("openslide")
    with openslide.OpenSlide(slide / "export" / "D01-1.tif") as opened:
        assert opened.level_dimensions == tuple(level_sizes(1301, 1157)) == ((1301, 1157), (651, 579), (326, 290))
        assert float(opened.properties["openslide.mpp-x"]) == pytest.approx(0.25)
        assert float(opened.properties["openslide.mpp-y"]) == pytest.approx(0.25)
        whole = np.asarray(opened.read_region((0, 0), 0, (1301, 1157)).convert("RGB")).astype(float)
        quarter = np.asarray(opened.read_region((0, 0), 2, (325, 289)).convert("RGB")).astype(float)
    # Grey, because JPEG keeps the colours at half the resolution.
    reduced, quarter = whole[:1156, :1300].reshape(289, 4, 325, 4, 3).mean((1, 3, 4)), quarter.mean(2)
    assert np.abs(reduced - quarter).mean() < 2.0
    # What JPEG leaves, and better than with a shift by half a pixel of this level, two of the slide.
    alike = np.corrcoef(reduced.ravel(), quarter.ravel())[0, 1]
    grey = whole.mean(2)
    shifted = grey[2:1154, 2:1298].reshape(288, 4, 324, 4).mean((1, 3))
    assert alike > 0.995
    assert alike > np.corrcoef(shifted.ravel(), quarter[:288, :324].ravel())[0, 1] + 0.003


def test_nuclei_lie_in_the_slide_where_the_truth_says(slide: Path) -> None:
    pixels = tifffile.imread(slide / "export" / "D01-1.tif", key=0)[..., 1].astype(float)
    conditions = np.median(pixels)
    inside = [row for row in truth_of(slide) if row["border"] == "0" and row["class"] != "necrotic"]
    assert len(inside) >= 10
    for row in inside:
        for circle in row["nuclei_at"].split(";"):
            x, y, _ = (float(part) for part in circle.split(":"))
            around = pixels[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3]
            assert around.mean() < conditions - 25


def test_tiles_meet_without_a_seam(slide: Path) -> None:
    pixels = tifffile.imread(slide / "export" / "D01-1.tif", key=0)[..., 1].astype(float)
    steps = np.abs(np.diff(pixels, axis=1)).mean(axis=0)
    at_seams = steps[[TILE - 1, 2 * TILE - 1]]
    # A JPEG's blocks of 8 px end there too, as they do elsewhere.
    assert at_seams.max() < np.quantile(steps[7::8], 0.95) + 1.0


def test_the_same_slide_comes_from_several_processes(slide: Path, tmp_path: Path) -> None:
    again = simulate_fields(tmp_path / "x", SLIDE, workers=2)
    assert (again.export / "D01-1.tif").read_bytes() == (slide / "export" / "D01-1.tif").read_bytes()
    assert again.truth.read_bytes() == (slide / "truth.csv").read_bytes()


_MEASURED = """
import resource, sys
from pathlib import Path
from mnbatch.simulate.export_plan import ExportPlan
from mnbatch.simulate.fields.field_export import simulate_fields
from mnbatch.simulate.fields.field_plan import FieldPlan
width, height = int(sys.argv[2]), int(sys.argv[3])
plan = FieldPlan(ExportPlan(donors=1, slides=1, stain="giemsa"), kind="wsi", width=width, height=height, density=30)
simulate_fields(Path(sys.argv[1]), plan)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")
def test_memory_does_not_grow_with_the_slide(tmp_path: Path) -> None:
    peaks = []
    for number, (width, height) in enumerate(((1024, 1024), (1024, 5120))):
        command = [sys.executable, "-c", _MEASURED, str(tmp_path / str(number)), str(width), str(height)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(float(done.stdout))
    # The pixels of the larger one, with its levels, are 16 MiB more as written and 130 MiB more while they are drawn.
    assert peaks[1] - peaks[0] < 12


def test_a_level_that_is_not_needed_is_not_made() -> None:
    assert level_sizes(512, 300) == [(512, 300)]
    assert level_sizes(513, 300) == [(513, 300), (257, 150)]


def test_whole_slides_of_fluorescence_are_grey_with_8_bits(tmp_path: Path) -> None:
    plan = replace(SLIDE, export=replace(SLIDE.export, stain="fluorescence"), width=600, height=300)
    made = simulate_fields(tmp_path / "x", plan)
    with tifffile.TiffFile(made.export / "D01-1.tif") as tiff:
        assert [(page.shape, page.dtype.name) for page in tiff.pages] == [((300, 600), "uint8"), ((150, 300), "uint8")]
        assert tiff.pages[0].is_tiled
