"""LIF through liffile: scenes, tiles, channels, planes, times and colours; what differs or is torn is never counted.

The files are written by `tests/imaging/vendor_samples.py`; none came from a microscope.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mnbatch.assay.page_options import NO_OPTIONS, PageOptions
from mnbatch.imaging.fields.field_images import FieldImage, load_fields
from tests.imaging.vendor_samples import smooth, write_lif

pytest.importorskip("liffile", reason="LIF needs liffile: pip install 'mnbatch[vendor]'")

DYES = ("FITC", "DAPI", "Cy3")
PICTURES = smooth((2, 2, 3, 4, 61, 83))
"""2 scenes, 2 times, 3 channels, 4 planes."""


def read(path: Path, options: PageOptions = NO_OPTIONS) -> list[FieldImage]:
    return list(load_fields(str(path), options)[1])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.lif"


def test_each_image_is_a_field_of_one_channel_plane_and_time(path: Path) -> None:
    write_lif(path, {"one": PICTURES[:1], "two": PICTURES[1:]}, dyes=DYES)
    found = read(path, PageOptions(planes="3", time=2))
    assert [(image.page, image.um_per_pixel, image.problem) for image in found] == [(0, 0.325, ""), (1, 0.325, "")]
    for image, pictures in zip(found, PICTURES, strict=True):
        assert np.array_equal(image.pixels, pictures[1, 1, 2])
    named = read(path, PageOptions(planes="max", time=1, channel="cy3"))
    assert np.array_equal(named[1].pixels, PICTURES[1, 0, 2].max(axis=0))


def test_planes_times_and_channels_are_asked_about(path: Path) -> None:
    write_lif(path, {"one": PICTURES[:1]}, dyes=DYES)
    for options, option in ((NO_OPTIONS, "--time"), (PageOptions(time=1), "--planes")):
        (asked,) = read(path, options)
        assert asked.unclear
        assert option in asked.problem
    write_lif(path, {"one": PICTURES[:1, :1, :, :1]})  # display colours name no stain
    (asked,) = read(path)
    assert "--nuclear-channel" in asked.problem
    assert "Green, Blue, Red" in asked.problem
    (chosen,) = read(path, PageOptions(channel="blue"))
    assert np.array_equal(chosen.pixels, PICTURES[0, 0, 1, 0])


def test_tiles_of_a_mosaic_are_fields(path: Path) -> None:
    write_lif(path, {"mosaic": PICTURES[:, :1, 1:2, :1]})
    found = read(path)
    assert [np.array_equal(image.pixels, PICTURES[i, 0, 1, 0]) for i, image in enumerate(found)] == [True, True]


def test_colours_stay_in_their_order(path: Path) -> None:
    colours = (smooth((3, 1, 1, 1, 50, 71, 3)) // 32).astype(np.uint8)
    write_lif(path, {"giemsa": colours})
    found = read(path)
    assert [np.array_equal(image.pixels, colours[i, 0, 0, 0]) for i, image in enumerate(found)] == [True] * 3


@pytest.mark.parametrize(
    "other",
    [PICTURES[1:, :1, :2, :1], PICTURES[1:, :1, :1, :2], PICTURES[1:, :1, :1, :1, :40, :40]],
    ids=["channels", "planes", "size"],
)
def test_images_of_another_kind_beside_fields_are_asked_about(path: Path, other: np.ndarray) -> None:
    """A merged mosaic or an overview next to the tiles would be counted a second time."""
    write_lif(path, {"field": PICTURES[:1, :1, :1, :1], "other": other})
    (asked,) = read(path, PageOptions(channel="1", planes="sharpest"))
    assert asked.unclear
    assert "not of one kind" in asked.problem


def test_torn_files_are_lost_as_a_whole(path: Path) -> None:
    write_lif(path, {"one": PICTURES[:1], "two": PICTURES[1:]}, dyes=DYES)
    data = path.read_bytes()
    half = len(data) // 2
    for torn in (b"", data[:100], data[: half // 2], data[: half + 9000], data[:half] + bytes(len(data) - half)):
        path.write_bytes(torn)
        found = read(path, PageOptions(planes="4", time=2, channel="3"))
        assert all(image.problem for image in found[1:] or found), len(torn)
        assert found[0].lost or len(found) == 2


def test_a_last_picture_that_ends_early_or_in_zeros_is_unreadable(path: Path) -> None:
    write_lif(path, {"one": PICTURES[:1], "two": PICTURES[1:]}, dyes=DYES)
    data = path.read_bytes()
    plane = PICTURES[0, 0, 0, 0].nbytes
    whole_rows = 2 * PICTURES.shape[-1] * 30
    for torn in (data[:-50], data[:-5001] + bytes(5001), data[:-whole_rows] + bytes(whole_rows)):
        path.write_bytes(torn)
        first, last = read(path, PageOptions(planes="4", time=2, channel="3"))
        assert np.array_equal(first.pixels, PICTURES[0, 1, 2, 3])
        assert last.pixels is None
        assert last.problem
    assert plane > 5001


def test_a_block_that_is_shorter_than_its_pictures_is_no_picture_of_the_next(path: Path) -> None:
    write_lif(path, {"one": PICTURES[:1], "two": PICTURES[1:]}, dyes=DYES)
    planes = 'DimID="3" NumberOfElements="4"'.encode("utf-16-le")
    more = 'DimID="3" NumberOfElements="9"'.encode("utf-16-le")
    path.write_bytes(path.read_bytes().replace(planes, more))
    found = read(path, PageOptions(planes="9", time=2, channel="3"))
    assert all(image.pixels is None for image in found)
