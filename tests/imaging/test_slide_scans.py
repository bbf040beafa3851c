"""What the pages of whole slides are: planes of colour, channels, scans, levels; every cell once, or a question."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from mnbatch.errors import SlideError
from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.fields import regions
from mnbatch.imaging.formats.whole_slides import open_scans, open_whole
from tests.imaging.fields.test_field_pages import both, field
from tests.imaging.test_whole_slides import read

TILES: dict[str, Any] = {"tile": (64, 64), "metadata": None}


def put(tmp_path: Path, *pages: np.ndarray, **options: Any) -> str:
    with tifffile.TiffWriter(tmp_path / "a.tif", ome=bool(options.pop("ome", False))) as tiff:
        for page in pages:
            tiff.write(page, **(TILES | {"photometric": "minisblack"} | options))
    return str(tmp_path / "a.tif")


def whole(path: str, **options: Any) -> np.ndarray:
    from mnbatch.assay.page_options import PageOptions

    image = open_whole(path, "a", PageOptions(**options))
    return image.read(0, 0, image.width, image.height)


@pytest.fixture(autouse=True)
def small_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "CORE", 250)


def test_planes_of_colour_are_put_together(tmp_path: Path) -> None:
    planes = np.stack([field(i) for i in range(3)])
    path = put(tmp_path, planes, photometric="rgb", planarconfig="separate")
    assert np.array_equal(whole(path), np.moveaxis(planes, 0, -1))
    assert np.array_equal(whole(path, channel="2"), planes[1])


@pytest.mark.parametrize("together", ["contig", "separate"])
def test_stains_in_one_pixel_are_chosen_or_asked_for(tmp_path: Path, together: str) -> None:
    values = both(1) if together == "separate" else np.moveaxis(both(1), 0, -1)
    path = put(tmp_path, values, planarconfig=together)
    with pytest.raises(SlideError, match="--nuclear-channel"):
        whole(path)
    assert np.array_equal(whole(path, channel="2"), field(1))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.float32])
def test_a_slide_in_which_the_smallest_value_is_white(tmp_path: Path, kind: type) -> None:
    top = 1 if kind is np.float32 else np.iinfo(kind).max
    path = put(tmp_path, ((1 - field(1) / 255) * top).astype(kind), photometric="miniswhite")
    assert np.corrcoef(whole(path).ravel(), field(1).ravel())[0, 1] > 0.999


@pytest.mark.parametrize("colour", [False, True])
def test_scans_of_one_size_are_asked_about_and_every_cell_is_read(tmp_path: Path, colour: bool) -> None:
    scans = [np.dstack([field(i)] * 3) if colour else field(i) for i in range(3)]
    path = put(tmp_path, *scans, photometric="rgb" if colour else "minisblack")
    with pytest.raises(SlideError, match="--pages positions"):
        open_scans(path, "a", None)
    (slide,) = find_slides(tmp_path, kind="wsi")
    crops, _ = read(slide, cells="all", pages="positions")
    alone = []
    for i, scan in enumerate(scans):
        (tmp_path / str(i)).mkdir()
        put(tmp_path / str(i), scan, photometric="rgb" if colour else "minisblack")
        (one,) = find_slides(tmp_path / str(i), kind="wsi")
        alone.append(len(read(one, cells="all")[0]))
    assert abs(len(crops) - sum(alone)) <= 1  # the nucleus diameter is one of all scans together
    assert sum(alone) > 30
    assert len({crop.cell_id for crop in crops}) == len(crops)
    with pytest.raises(SlideError, match="--nuclear-channel"):
        whole(path, pages="channels")
    assert np.array_equal(whole(path, pages="channels", channel="2"), scans[1])


@pytest.mark.parametrize("flag", [0, 1])
def test_smaller_versions_and_a_picture_of_the_label_are_no_scans(tmp_path: Path, flag: int) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for i, page in enumerate((field(1), field(1)[::2, ::2], field(1)[::4, ::4], field(2)[:90, :60])):
            tiff.write(page, **TILES, photometric="minisblack", subfiletype=flag if i else 0)
    assert np.array_equal(whole(str(tmp_path / "a.tif")), field(1))


def test_positions_and_channels_of_ome(tmp_path: Path) -> None:
    names = {"axes": "CYX", "Channel": {"Name": ["Phalloidin", "DAPI"]}}
    path = put(tmp_path, both(1), both(2), ome=True, metadata=names)
    found = open_scans(path, "a", None)
    assert [np.array_equal(image.read(0, 0, 420, 420), field(i + 1)) for i, image in enumerate(found)] == [True, True]


def test_pixels_that_are_no_squares_fail_the_slide(tmp_path: Path) -> None:
    put(tmp_path, field(1), resolution=(20000, 10000), resolutionunit="CENTIMETER")
    (slide,) = find_slides(tmp_path, kind="wsi")
    with pytest.raises(SlideError, match="no squares"):
        read(slide)
    assert read(slide, cells="all", um_per_pixel=0.5)[0]
