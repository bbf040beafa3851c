"""What the pages of crops are: the right number of cells, or a slide that asks; never another number."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from mnbatch.assay.cells import CellCrop, UnreadableCell
from mnbatch.assay.page_options import PageOptions
from mnbatch.errors import SlideError
from tests.imaging.page_files import GREY, blurred, cell, cells, cytoplasm, read_slide, readable, slide_of, written

OME = {"photometric": "minisblack"}


def stains(seed: int) -> np.ndarray:
    return np.stack([cytoplasm(cell(seed)), cell(seed)])


def named(axes: str, *names: str) -> dict[str, Any]:
    return {**OME, "metadata": {"axes": axes, **({"Channel": {"Name": list(names)}} if names else {})}}


def six(make: Any) -> dict[str, bytes]:
    return {f"c{i}.tif": make(i) for i in range(6)}


ASKED = {
    "two unnamed channels, OME": (six(lambda i: written(stains(i), each=named("CYX"), ome=True)), "nuclear-channel"),
    "two unnamed channels, ImageJ": (
        six(lambda i: written(stains(i), each={"metadata": {"axes": "CYX"}}, imagej=True)),
        "nuclear-channel",
    ),
    "two plain pages a file": (six(lambda i: written(*stains(i))), "--pages"),
    "a preview of another form": (six(lambda i: written(cell(i), cell(i + 50)[:40])), "--pages"),
    "two stains as samples": (
        six(lambda i: written(np.moveaxis(stains(i), 0, -1), each={**GREY, "planarconfig": "contig"})),
        "nuclear-channel",
    ),
    "two stains as planes": (six(lambda i: written(stains(i), each={**GREY, "planarconfig": "separate"})), "channel"),
    "four stains as samples": (
        six(lambda i: written(np.dstack([*stains(i), *stains(i)]), each={**GREY, "planarconfig": "contig"})),
        "nuclear-channel",
    ),
    "stains in turn, plain": (written(*(page for i in range(5) for page in stains(i))), "--pages cells,channels:2"),
    "focal planes, plain": (written(*(blurred(cell(1), s) for s in (0.5, 1, 2))), "--pages planes"),
    "focal planes, ImageJ slices": (
        written(np.stack([blurred(cell(1), s) for s in (0.5, 1, 2)]), each={"metadata": {"axes": "ZYX"}}, imagej=True),
        "--p",
    ),
    "focal planes, OME": (
        written(np.stack([blurred(cell(1), s) for s in (0.5, 1, 2)]), each=named("ZYX"), ome=True),
        "--planes",
    ),
    "focal planes, one volume": (
        written(np.stack([blurred(cell(1), s) for s in range(1, 17)]), each={**GREY, "volumetric": True}),
        "--planes",
    ),
    "times": (written(np.stack([cell(1), cell(1)]), each=named("TYX"), ome=True), "--time"),
    "thirty cells in one directory, slices of a hyperstack": (
        written(cells(30), each={"truncate": True, "metadata": {"axes": "ZYX"}}, imagej=True),
        "--pages cells",
    ),
    "two axes without a name": (written(np.stack([stains(i) for i in range(4)]), each=OME), "--pages"),
    "channels and times": (
        written(np.stack([stains(i) for i in range(3)]), each={"metadata": {"axes": "TCYX"}}, imagej=True),
        "nuclear-channel",
    ),
}


@pytest.mark.parametrize("case", ASKED)
def test_what_is_not_known_is_asked_for(tmp_path: Path, case: str) -> None:
    files, option = ASKED[case]
    with pytest.raises(SlideError) as asked:
        readable(tmp_path, files)
    assert option in str(asked.value)


def levels_below(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as tiff:
        tiff.write(pixels, subifds=1, **GREY)
        tiff.write(pixels[::2, ::2], subfiletype=1, **GREY)
    return stream.getvalue()


def opaque(pixels: np.ndarray) -> np.ndarray:
    return np.dstack([pixels] * 3 + [np.full(pixels.shape, 255, np.uint8)])


RIGHT = {
    "one of two channels by its name, OME": (
        six(lambda i: written(stains(i), each=named("CYX", "FITC", "DAPI"), ome=True)),
        6,
    ),
    "positions of two channels": (written(*map(stains, range(3)), each=named("CYX", "FITC", "DAPI"), ome=True), 3),
    "positions in a modulo axis": (
        written(np.stack([stains(i) for i in range(4)]), each=named("RCYX", "FITC", "DAPI"), ome=True),
        4,
    ),
    "thirty cells in one directory, tifffile": (written(cells(30), each={**OME, "truncate": True}), 30),
    "thirty cells in one directory, ImageJ": (written(cells(30), each={"truncate": True}, imagej=True), 30),
    "thirty cells of 16 bits in one directory": (
        written(cells(30).astype(np.uint16) * 7, each={"truncate": True}, imagej=True, byteorder=">"),
        30,
    ),
    "thirty cells, ImageJ": (written(cells(30), each={}, imagej=True), 30),
    "thirty cells, OME": (written(cells(30), each=OME, ome=True), 30),
    "thirty cells, tifffile": (written(cells(30), each=OME), 30),
    "thirty cells, plain": (written(*cells(30)), 30),
    "thirty cells, BigTIFF": (written(*cells(30), bigtiff=True), 30),
    "thirty cells written one by one": (written(*cells(30), each=OME), 30),
    "cells of different sizes": (written(*(cell(i, 48 + 3 * i) for i in range(9))), 9),
    "a thumbnail in each file": (six(lambda i: written(cell(i), cell(i)[::2, ::2])), 6),
    "a thumbnail that comes first": (six(lambda i: written(cell(i)[::2, ::2], cell(i))), 6),
    "levels without a tag": (six(lambda i: written(*(cell(i, 128)[::s, ::s] for s in (1, 2, 4)))), 6),
    "levels below SubIFDs": (six(lambda i: levels_below(cell(i))), 6),
    "colour with opacity": (six(lambda i: written(opaque(cell(i)), each={**GREY, "photometric": "rgb"})), 6),
    "grey with opacity": (
        six(
            lambda i: written(
                np.dstack([cell(i), np.full((64, 64), 255, np.uint8)]),
                each={**GREY, "planarconfig": "contig", "extrasamples": ["unassalpha"]},
            )
        ),
        6,
    ),
    "colour planes": (
        six(
            lambda i: written(np.stack([cell(i)] * 3), each={**GREY, "photometric": "rgb", "planarconfig": "separate"})
        ),
        6,
    ),
    "one bit": (six(lambda i: written(cell(i) > 80)), 6),
    "a palette": (
        six(
            lambda i: written(
                cell(i), each={**GREY, "photometric": "palette", "colormap": np.stack([np.arange(256) * 257] * 3)}
            )
        ),
        6,
    ),
}


@pytest.mark.parametrize("case", RIGHT)
def test_the_right_number_of_cells(tmp_path: Path, case: str) -> None:
    files, count = RIGHT[case]
    found = read_slide(slide_of(tmp_path, {"a.tif": files} if isinstance(files, bytes) else files))
    assert [one.reason for one in found if isinstance(one, UnreadableCell)] == []
    assert len(found) == count
    assert len({one.cell_id for one in found}) == count
    assert len({one.digest for one in found if isinstance(one, CellCrop)}) == count


SAID = {
    "a channel by number": (six(lambda i: written(stains(i), each=named("CYX"), ome=True)), PageOptions("2"), 6),
    "a channel by name": (
        six(lambda i: written(stains(i), each=named("CYX", "A", "B"), ome=True)),
        PageOptions("b"),
        6,
    ),
    "one of two plain pages": (six(lambda i: written(*stains(i))), PageOptions("2", pages="channels"), 6),
    "plain pages that are cells": (six(lambda i: written(*cells(2, 2 * i))), PageOptions(pages="cells"), 12),
    "positions of channels": (
        written(*map(stains, range(3)), each=named("CYX"), ome=True),
        PageOptions("2"),
        3,
    ),
    "a sample": (
        six(lambda i: written(np.moveaxis(stains(i), 0, -1), each={**GREY, "planarconfig": "contig"})),
        PageOptions("2"),
        6,
    ),
    "a sample of a plane": (
        six(lambda i: written(stains(i), each={**GREY, "planarconfig": "separate"})),
        PageOptions("2"),
        6,
    ),
    "the sharpest plane": (
        written(*(blurred(cell(1), s) for s in (1, 0, 2))),
        PageOptions(planes="sharpest", pages="planes"),
        1,
    ),
    "a plane by number": (
        written(*(blurred(cell(1), s) for s in (1, 0, 2))),
        PageOptions(planes="2", pages="planes"),
        1,
    ),
    "a time": (written(np.stack([cell(2), cell(1)]), each=named("TYX"), ome=True), PageOptions(time=2), 1),
    "two axes": (
        written(np.stack([stains(i) for i in range(4)]), each=OME),
        PageOptions("2", pages="cells,channels"),
        4,
    ),
    "channels that are cells": (written(cells(4), each={}, imagej=True), PageOptions(pages="cells"), 4),
    "stains in turn": (
        written(*(page for i in range(5) for page in stains(i))),
        PageOptions("2", pages="cells,channels:2"),
        5,
    ),
    "a colour": (
        six(lambda i: written(np.dstack([*stains(i), cell(9)]), each={**GREY, "photometric": "rgb"})),
        PageOptions("green"),
        6,
    ),
}


@pytest.mark.parametrize("case", SAID)
def test_what_a_person_says_is_done(tmp_path: Path, case: str) -> None:
    files, options, count = SAID[case]
    found = read_slide(slide_of(tmp_path, {"a.tif": files} if isinstance(files, bytes) else files), options)
    assert [one.reason for one in found if isinstance(one, UnreadableCell)] == []
    assert len(found) == count


@pytest.mark.parametrize("case", sorted(set(SAID) - {"plain pages that are cells", "channels that are cells"}))
def test_the_picture_that_was_asked_for_is_read(tmp_path: Path, case: str) -> None:
    """The first cell is that of the nuclear stain (or the focal plane, or time), and no other picture of the file."""
    files, options, _ = SAID[case]
    found = read_slide(slide_of(tmp_path, {"a.tif": files} if isinstance(files, bytes) else files), options)
    seed = 1 if case in ("the sharpest plane", "a plane by number", "a time") else 0
    plain = slide_of(tmp_path / "plain", {"a.tif": written(cell(seed))})
    (expected,) = read_slide(plain)
    assert isinstance(expected, CellCrop)
    assert isinstance(found[0], CellCrop)
    assert found[0].digest == expected.digest
