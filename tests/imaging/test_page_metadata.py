"""Metadata of other programs, and files in which metadata and pages do not agree."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from mnbatch.assay.cells import CellCrop
from mnbatch.assay.page_options import PageOptions
from mnbatch.errors import SlideError
from tests.imaging.page_files import GREY, cell, cells, cytoplasm, read_slide, readable, slide_of, written


def micro_manager(places: list[tuple[int, int]], names: tuple[str, ...] = ("FITC", "DAPI")) -> bytes:
    """Pages with Micro-Manager's tag of each page: (position, channel)."""
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as tiff:
        for position, channel in places:
            noted = json.dumps({"PositionIndex": position, "ChannelIndex": channel, "SliceIndex": 0, "FrameIndex": 0})
            page = cell(position) if channel else cytoplasm(cell(position))
            tiff.write(page, **GREY, contiguous=False, extratags=[(51123, 2, 0, noted, True)])
    return stream.getvalue()


def test_micro_manager_says_what_each_page_is(tmp_path: Path) -> None:
    content = micro_manager([(p, c) for p in range(3) for c in range(2)])
    with pytest.raises(SlideError, match="2 channels"):
        readable(tmp_path, content)
    found = read_slide(slide_of(tmp_path, {"a.tif": content}), PageOptions("2"))
    expected = [read_slide(slide_of(tmp_path / str(i), {"a.tif": written(cell(i))}))[0] for i in range(3)]
    assert [one.digest for one in found if isinstance(one, CellCrop)] == [
        one.digest for one in expected if isinstance(one, CellCrop)
    ]


def test_pages_that_ome_does_not_know_are_asked_about(tmp_path: Path) -> None:
    two = np.stack([cytoplasm(cell(0)), cell(0)])
    described = {"photometric": "minisblack", "metadata": {"axes": "CYX", "Channel": {"Name": ["FITC", "DAPI"]}}}
    with tifffile.TiffFile(io.BytesIO(written(two, each=described, ome=True))) as tiff:
        text = tiff.ome_metadata
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for i, page in enumerate([*two, cell(5), cell(6)]):
            writer.write(page, **GREY, contiguous=False, description=text if not i else None)
    with pytest.raises(SlideError, match="2 further pages"):
        readable(tmp_path, stream.getvalue())
    assert readable(tmp_path, stream.getvalue(), PageOptions(pages="cells")) == 4


def test_pictures_in_sub_directories_are_not_lost_in_silence(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as tiff:
        tiff.write(cell(0), subifds=2, **GREY)
        tiff.write(cell(1), **GREY)
        tiff.write(cell(2), **GREY)
    with pytest.raises(SlideError, match="SubIFDs"):
        readable(tmp_path, stream.getvalue())


def test_ome_of_several_files_counts_the_pages_of_each_once(tmp_path: Path) -> None:
    """Two files of one OME data set: each holds one of two channels, and names the other file."""
    both = np.stack([cytoplasm(cell(0)), cell(0)])
    described = {"photometric": "minisblack", "metadata": {"axes": "CYX", "Channel": {"Name": ["FITC", "DAPI"]}}}
    with tifffile.TiffFile(io.BytesIO(written(both, each=described, ome=True))) as tiff:
        text = tiff.ome_metadata or ""
    ids = [f"urn:uuid:00000000-0000-0000-0000-00000000000{i}" for i in (1, 2)]
    data = "".join(
        f'<TiffData FirstC="{c}" FirstT="0" FirstZ="0" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{"ab"[c]}.ome.tif">{ids[c]}</UUID></TiffData>'
        for c in range(2)
    )
    start, end = text.index("<TiffData"), text.rindex("</Pixels>")
    files = {}
    for c in range(2):
        own = (text[:start] + data + text[end:]).replace('UUID="', f'UUID="{ids[c]}" Old="', 1)
        files["ab"[c] + ".ome.tif"] = written(both[c], each={**GREY, "description": own})
    everything = read_slide(slide_of(tmp_path, files))
    found = [one for one in everything if isinstance(one, CellCrop)]
    (nuclear,) = read_slide(slide_of(tmp_path / "n", {"a.tif": written(cell(0))}))
    assert isinstance(nuclear, CellCrop)
    assert [one.digest for one in found] == [nuclear.digest]
    (lost,) = [one for one in everything if not isinstance(one, CellCrop)]
    assert "in another file" in lost.reason


def test_a_gallery_of_many_pages_is_not_walked_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def walked(self: object) -> None:
        raise AssertionError("tifffile's series of a plain file were asked for")

    monkeypatch.setattr(tifffile.TiffFile, "series", property(walked))
    assert readable(tmp_path, written(*cells(20))) == 20
