"""Any structure of a TIFF, made at random: the right cells, or a question; never another number of cells.

What a file holds is known, because it was made here. The rule allows three outcomes: all cells, the right one of each;
a slide that asks; cells that are listed as unreadable.
"""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnbatch.assay.cells import CellCrop
from mnbatch.assay.page_options import NO_OPTIONS, PageOptions
from mnbatch.errors import SlideError
from mnbatch.imaging.readers import pixel_digest
from tests.imaging.page_files import blurred, cell, cytoplasm, read_slide, slide_of, written

SIZE = 48
QUIET = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


@dataclass(frozen=True)
class Made:
    """A file, and the digests of the cells that it holds."""

    content: bytes
    cells: tuple[str, ...]
    how: str


def nuclear(seed: int) -> Any:
    return cell(seed, SIZE)


def digest(pixels: Any) -> str:
    return pixel_digest(np.ascontiguousarray(pixels))


@st.composite
def stacks(draw: st.DrawFn) -> Made:
    """Cells, channels and planes in pages, by any program, in any order of bytes, strips or tiles."""
    count, channels, planes = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 3]))
    at, sharp = draw(st.integers(0, channels - 1)), draw(st.integers(0, planes - 1))
    program = draw(st.sampled_from(["ome", "imagej", "shaped", "plain"]))
    named = draw(st.booleans())
    kind = draw(st.sampled_from([np.uint8, np.uint16]))
    stack = np.zeros((count, planes, channels, SIZE, SIZE), kind)
    for i, z, c in np.ndindex(count, planes, channels):
        own = (
            nuclear(100 * count + i) if c == at else cytoplasm(nuclear(100 * count + i) if c < at else nuclear(900 + i))
        )
        stack[i, z, c] = own if z == sharp else blurred(own, 1 + z)
    options: dict[str, Any] = {"photometric": "minisblack"}
    if program != "imagej":
        options |= draw(st.sampled_from([{}, {"tile": (16, 16)}, {"rowsperstrip": 8}, {"compression": "lzw"}]))
    writer: dict[str, Any] = {
        "byteorder": draw(st.sampled_from("<>")),
        "bigtiff": program != "imagej" and draw(st.booleans()),
    }
    wanted = tuple(digest(stack[i, sharp, at]) for i in range(count))
    how = f"{program} {count} cells {channels} channels {planes} planes named={named}"
    names = {"Channel": {"Name": ["DAPI" if c == at else f"stain {c}" for c in range(channels)]}} if named else {}
    if program == "ome":
        each = options | {"metadata": {"axes": "ZCYX", **names}}
        return Made(written(*stack, each=each, ome=True, **writer), wanted, how)
    if program == "imagej":
        return Made(written(stack, each={"metadata": {"axes": "TZCYX"}}, imagej=True, **writer), wanted, how)
    if program == "shaped":
        axes = draw(st.sampled_from(["QZCYX", "none", "TZCYX"]))
        said = {} if axes == "none" else {"metadata": {"axes": axes}}
        return Made(written(np.squeeze(stack) if axes == "none" else stack, each=options | said, **writer), wanted, how)
    pages = stack.reshape(-1, SIZE, SIZE)
    return Made(written(*pages, each=options | {"metadata": None, "contiguous": False}, **writer), wanted, how)


def outcome(made: Made, options: PageOptions = NO_OPTIONS) -> list[str] | None:
    """Digests of the cells that are counted; None for a slide that asks."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = read_slide(slide_of(Path(folder), {"a.tif": made.content}), options)
        except SlideError:
            return None
    assert all(isinstance(one, CellCrop) for one in found)
    return [one.digest for one in found if isinstance(one, CellCrop)]


@QUIET
@given(stacks())
def test_the_right_cells_or_a_question(made: Made) -> None:
    found = outcome(made)
    # A few plain pages may be asked about also where each is a cell: of so few nobody can tell.
    if found is not None:
        assert sorted(found) == sorted(made.cells), made.how


@QUIET
@given(stacks())
def test_with_the_options_that_are_asked_for_the_cells_are_right(made: Made) -> None:
    if not made.how.startswith("ome"):
        return
    channels = int(made.how.split()[3])
    for channel in range(channels):
        found = outcome(made, PageOptions(str(channel + 1), planes="sharpest"))
        if found is not None and set(found) == set(made.cells):
            return
    raise AssertionError(f"no channel gives the cells: {made.how}")


@QUIET
@given(
    st.integers(1, 4),
    st.lists(st.sampled_from([2, 3, 4]), max_size=2, unique=True),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["minisblack", "miniswhite", "rgb"]),
)
def test_smaller_versions_are_never_cells(
    count: int, steps: list[int], flagged: bool, first: bool, colour: str
) -> None:
    pages = []
    for i in range(count):
        large = cell(40 + i, 96)
        large = np.dstack([large, large // 2, large]) if colour == "rgb" else large
        own = [(large, 0), *((large[::step, ::step], 1) for step in sorted(steps))]
        pages += own[::-1] if first else own
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as tiff:
        for page, level in pages:
            tiff.write(page, photometric=colour, metadata=None, subfiletype=level if flagged else 0)
    found = outcome(Made(stream.getvalue(), (), ""))
    assert found is None or len(found) == count
