"""Whole slides: the same cells whether read whole or in regions, each once, also on a seam; what is broken is said."""

import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from mnbatch.assay.cells import CellCrop, Slide
from mnbatch.assay.field_records import FieldReport
from mnbatch.errors import SlideError
from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.fields import regions
from mnbatch.imaging.fields.field_options import FieldOptions
from mnbatch.imaging.fields.field_survey import Survey
from mnbatch.imaging.fields.regions import RegionOverlaps, WholeSlideSource
from mnbatch.imaging.formats import whole_slides
from mnbatch.imaging.formats.size_limits import UndecodableError
from mnbatch.imaging.inputs import recognise_input
from mnbatch.imaging.preparation import Preparation

WIDTH, HEIGHT, STEP = 1500, 800, 125
CENTRES = [(x, y) for y in range(100, HEIGHT - 60, STEP) for x in range(125, WIDTH - 80, STEP)]


def painted() -> np.ndarray:
    """Pairs of nuclei on a grid, dark background, 8 bit; many of them lie on the seams between cores of 250 pixels."""
    rng = np.random.default_rng(5)
    field = np.zeros((HEIGHT, WIDTH))
    rows, columns = np.mgrid[-20:21, -20:21]
    disc = rows**2 + columns**2 <= 14**2
    for x, y in CENTRES:
        for shift in (-16, 16):
            window = field[y - 20 : y + 21, x + shift - 20 : x + shift + 21]
            window[disc] = 150 + rng.normal(0, 3)
    return np.clip(ndimage.gaussian_filter(field, 1) + 20 + rng.normal(0, 1.5, field.shape), 0, 255)


def write(path: Path, values: np.ndarray, **options: object) -> None:
    with tifffile.TiffWriter(path) as tiff:
        common = {"tile": (128, 128), "resolution": (20000, 20000), "resolutionunit": "CENTIMETER", **options}
        tiff.write(values, subifds=0, **common)
        tiff.write(values[::4, ::4], subfiletype=1, **common)


@pytest.fixture
def small_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "CORE", 250)
    monkeypatch.setattr(regions, "LEAST_MARGIN", 130)


def read(slide: Slide, **options: object) -> tuple[list[CellCrop], list[FieldReport]]:
    source = WholeSlideSource(slide, Preparation(), FieldOptions(**options))
    tasks, seams = source.tasks(), RegionOverlaps()
    traits = Survey([task for task in tasks if task.core], source.look).traits()
    items = [item for task in tasks for item in seams.once(source.read(task, traits))]
    return [i for i in items if isinstance(i, CellCrop)], [i for i in items if isinstance(i, FieldReport)]


@pytest.mark.parametrize("depth", ["rgb8", "grey16"])
def test_every_cell_of_a_pyramid_is_found_once(tmp_path: Path, small_cores: None, depth: str) -> None:
    values = painted()
    if depth == "rgb8":
        write(tmp_path / "a.tif", np.stack([values.astype(np.uint8)] * 3, -1), photometric="rgb")
    else:
        write(tmp_path / "a.tif", (values * 16).astype(np.uint16), photometric="minisblack")
    assert recognise_input(tmp_path, "folder-per-slide").kind == "wsi"
    (slide,) = find_slides(tmp_path, kind="wsi")
    crops, reports = read(slide)
    found = sorted((round(cell.found.x), round(cell.found.y)) for cell in crops if cell.found)
    assert len(found) == len(CENTRES)
    distances = [min(abs(x - a) + abs(y - b) for a, b in found) for x, y in CENTRES]
    assert max(distances) <= 3
    assert len(reports) == 6 * 4
    assert sum(len(report.cells) for report in reports) == len(CENTRES)
    assert crops[0].found is not None
    assert crops[0].found.um_per_pixel == pytest.approx(0.5)


def test_a_region_that_cannot_be_read_is_set_aside(tmp_path: Path, small_cores: None) -> None:
    write(tmp_path / "a.tif", (painted() * 16).astype(np.uint16), photometric="minisblack")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        cut = tiff.pages.first.dataoffsets[-14]
        tags = tiff.pages.first.tags["TileOffsets"]
    with (tmp_path / "a.tif").open("r+b") as file:
        # The last tiles lead beyond the end of the file, as in a copy that was broken off.
        file.seek(tags.valueoffset + 4 * (tags.count - 14))
        file.write((0x7FFFFFFF).to_bytes(4, "little") * 14)
    assert cut > 0
    (slide,) = find_slides(tmp_path, kind="wsi")
    crops, reports = read(slide)
    bad = [report.problem for report in reports if report.problem]
    assert bad
    assert all("truncated" in problem for problem in bad)
    assert 0 < len(crops) < len(CENTRES)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.svs", b"II*\0 nothing", "cannot be opened"),
        ("a.mrxs", b"\xff\xd8\xff\xe0 thumbnail", "are missing: there is no folder"),
        ("a.ndpi", b"", "cannot be opened"),
        ("a.tif", b"II*\0\x08\0\0\0\0\0", "cannot be opened"),
    ],
)
def test_a_slide_that_cannot_be_opened_says_so(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    (slide,) = find_slides(tmp_path, kind="wsi")
    with pytest.raises(SlideError, match=reason):
        WholeSlideSource(slide, Preparation(), FieldOptions())


def test_data_files_of_a_slide_are_its_companions(tmp_path: Path) -> None:
    (tmp_path / "a.mrxs").write_bytes(b"index")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "Data0000.dat").write_bytes(b"data")
    (tmp_path / "b.vms").write_text("[Virtual Microscope Specimen]\nImageFile=b-1.jpg\nMapFile=b-map.jpg\n")
    (tmp_path / "b-1.jpg").write_bytes(b"jpeg")
    slides = list(find_slides(tmp_path, kind="wsi"))
    assert [[file.path for file in slide.everything] for slide in slides] == [
        ["a.mrxs", "a/Data0000.dat"],
        ["b.vms", "b-1.jpg"],
    ]


def without_bytes(path: Path, first: int, last: int, step: int = 1) -> None:
    """Take the bytes of some full-resolution tiles away, by their number."""
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages.first.tags["TileByteCounts"]
        sizes = {3: 2, 4: 4, 16: 8}
        place, size = tag.valueoffset, sizes[int(tag.dtype)]
        last = min(last, tag.count)
    with path.open("r+b") as file:
        for index in range(first, last, step):
            file.seek(place + index * size)
            file.write(bytes(size))


@pytest.mark.parametrize("depth", ["rgb8", "grey16"])
def test_half_of_the_tiles_without_bytes_are_missing(tmp_path: Path, small_cores: None, depth: str) -> None:
    values = painted()
    if depth == "rgb8":
        write(tmp_path / "a.tif", np.stack([values.astype(np.uint8)] * 3, -1), photometric="rgb")
    else:
        write(tmp_path / "a.tif", (values * 16).astype(np.uint16), photometric="minisblack")
    without_bytes(tmp_path / "a.tif", 0, 10**6, 2)
    (slide,) = find_slides(tmp_path, kind="wsi")
    crops, reports = read(slide)
    assert not crops
    assert all("have no data" in report.problem for report in reports)


def test_tiles_that_were_not_scanned_are_no_damage(tmp_path: Path, small_cores: None) -> None:
    values = np.stack([painted().astype(np.uint8)] * 3, -1)
    values[512:] = 255
    write(tmp_path / "a.tif", values, photometric="rgb")
    without_bytes(tmp_path / "a.tif", 4 * 12, 10**6)
    (slide,) = find_slides(tmp_path, kind="wsi")
    crops, reports = read(slide)
    assert crops
    assert not [report.problem for report in reports if "have no data" in report.problem]


def test_without_openslide_the_slide_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openslide", None)
    with pytest.raises(UndecodableError, match=r"pip install 'mnbatch\[vendor\]'"):
        whole_slides._opened(str(tmp_path / "a.svs"))
