"""ND2 through nd2: points, channels, planes, times and colours; a frame that is absent is never a black field.

The files are written by `tests/imaging/vendor_samples.py` and read by nd2; none came from a microscope.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from mnbatch.assay.page_options import NO_OPTIONS, PageOptions
from mnbatch.imaging.fields.field_images import FieldImage, load_fields
from tests.imaging.vendor_samples import smooth, write_nd2

pytest.importorskip("nd2", reason="ND2 needs nd2: pip install 'mnbatch[vendor]'")

NAMES = ("FITC", "DAPI", "Cy3")
PICTURES = smooth((2, 2, 3, 4, 61, 83))
"""2 points, 2 times, 3 channels, 4 planes."""


def read(path: Path, options: PageOptions = NO_OPTIONS) -> list[FieldImage]:
    return list(load_fields(str(path), options)[1])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.nd2"


def test_each_point_is_a_field_of_one_channel_plane_and_time(path: Path) -> None:
    write_nd2(path, PICTURES, names=NAMES)
    found = read(path, PageOptions(planes="3", time=2))
    assert [(image.page, image.um_per_pixel, image.problem) for image in found] == [(0, 0.325, ""), (1, 0.325, "")]
    for image, pictures in zip(found, PICTURES, strict=True):
        assert np.array_equal(image.pixels, pictures[1, 1, 2])
    named = read(path, PageOptions(planes="max", time=1, channel="cy3"))
    assert np.array_equal(named[1].pixels, PICTURES[1, 0, 2].max(axis=0))


def test_planes_times_and_channels_are_asked_about(path: Path) -> None:
    write_nd2(path, PICTURES, names=NAMES)
    for options, option in ((NO_OPTIONS, "--time"), (PageOptions(time=1), "--planes")):
        (asked,) = read(path, options)
        assert asked.unclear
        assert option in asked.problem
    write_nd2(path, PICTURES[:, :1, :, :1])
    (asked,) = read(path)
    assert "--nuclear-channel" in asked.problem


def test_one_grey_picture_without_a_scale(path: Path) -> None:
    """nd2 says 1 um for a pixel that nobody calibrated."""
    write_nd2(path, PICTURES[:1, :1, :1, :1], um=None)
    (image,) = read(path)
    assert image.um_per_pixel is None
    assert image.page is None
    assert np.array_equal(image.pixels, PICTURES[0, 0, 0, 0])


def test_colours_stay_in_their_order(path: Path) -> None:
    colours = (smooth((3, 1, 1, 1, 50, 71, 3)) // 32).astype(np.uint8)
    write_nd2(path, colours)
    found = read(path)
    assert [np.array_equal(image.pixels, colours[i, 0, 0, 0]) for i, image in enumerate(found)] == [True] * 3


def test_a_frame_that_the_acquisition_did_not_reach_is_unreadable(path: Path) -> None:
    write_nd2(path, PICTURES, names=NAMES)
    path.write_bytes(path.read_bytes().replace(b"ImageDataSeq|15!", b"ImageDataSeq|99!"))
    first, last = read(path, PageOptions(planes="4", time=2))
    assert np.array_equal(first.pixels, PICTURES[0, 1, 1, 3])
    assert last.pixels is None
    assert "absent" in last.problem


def test_a_frame_that_ends_in_zeros_is_unreadable(path: Path) -> None:
    write_nd2(path, PICTURES, names=NAMES)
    data = path.read_bytes()
    start = data.index(b"ImageDataSeq|15!") - 16 + 4096
    size = PICTURES[0, 0, :, 0].nbytes
    kept = size // 2 + 31
    path.write_bytes(data[: start + kept] + bytes(size - kept) + data[start + size :])
    first, last = read(path, PageOptions(planes="4", time=2))
    assert first.pixels is not None
    assert last.pixels is None


def test_torn_files_are_lost_as_a_whole(path: Path) -> None:
    write_nd2(path, PICTURES, names=NAMES)
    data = path.read_bytes()
    half = len(data) // 2
    wrong_map = data[:-8] + struct.pack("<Q", len(data) + 5)
    for torn in (b"", data[:100], data[:half], data[:half] + bytes(len(data) - half), data[:-50], wrong_map):
        path.write_bytes(torn)
        (image,) = read(path, PageOptions(planes="4", time=2))
        assert image.lost
        assert "ND2" in image.problem
