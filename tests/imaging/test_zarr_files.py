"""OME-Zarr: both versions, plates, series; an absent chunk is damage and no background; folders settle and are copies.

All files are written by zarr; none came from a converter or a microscope.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from mnbatch.assay.page_options import NO_OPTIONS, PageOptions
from mnbatch.errors import NoInputError
from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.fields.field_images import FieldImage, load_fields
from mnbatch.imaging.formats.folder_images import digest_of, folder_format, state_of
from mnbatch.imaging.inputs import recognise_input
from tests.imaging.vendor_samples import smooth, write_plate, write_zarr

zarr = pytest.importorskip("zarr", reason="OME-Zarr needs zarr: pip install 'mnbatch[vendor]'")

NAMES = ("FITC", "DAPI", "Cy3")
PICTURES = smooth((2, 3, 4, 130, 150))
"""2 times, 3 channels, 4 planes."""
FIELD = PICTURES[:1, :1, :1]
both = pytest.mark.parametrize("version", [2, 3])


def read(path: Path, options: PageOptions = NO_OPTIONS) -> list[FieldImage]:
    return list(load_fields(str(path), options)[1])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "e/S1/a.ome.zarr"


def chunks_of(folder: Path) -> list[Path]:
    """Those of the largest level, in order."""
    found = (file for file in (folder / "0").rglob("*") if file.is_file())
    return sorted(file for file in found if not file.name.startswith((".", "zarr")))


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@both
def test_one_channel_plane_and_time_of_the_largest_level(path: Path, version: int) -> None:
    write_zarr(path, PICTURES, version=version, names=NAMES)
    (image,) = read(path, PageOptions(planes="3", time=2))
    assert (image.page, image.um_per_pixel, image.problem) == (None, 0.325, "")
    assert np.array_equal(image.pixels, PICTURES[1, 1, 2])
    (brightest,) = read(path, PageOptions(planes="max", time=1, channel="cy3"))
    assert np.array_equal(brightest.pixels, PICTURES[0, 2].max(axis=0))
    for options, option in ((NO_OPTIONS, "--time"), (PageOptions(time=1), "--planes")):
        (asked,) = read(path, options)
        assert asked.unclear
        assert option in asked.problem


@both
def test_units_and_names_that_are_not_stated_are_not_known(path: Path, version: int) -> None:
    write_zarr(path, PICTURES[:1, :, :1], version=version, unit="")
    (asked,) = read(path)
    assert "--nuclear-channel" in asked.problem
    (image,) = read(path, PageOptions(channel="2"))
    assert image.um_per_pixel is None
    write_zarr(path, PICTURES[:1, :, :1], version=version, unit="nanometer", um=325.0)
    assert read(path, PageOptions(channel="2"))[0].um_per_pixel == pytest.approx(0.325)


@both
def test_absent_torn_and_zero_filled_chunks_are_unreadable(path: Path, version: int) -> None:
    write_zarr(path, FIELD, version=version)
    chunk = chunks_of(path)[0]
    data = chunk.read_bytes()
    half = len(data) // 2
    for torn in (b"", data[:half], data[:half] + bytes(len(data) - half), bytes(len(data))):
        chunk.write_bytes(torn)
        (image,) = read(path)
        assert image.pixels is None, len(torn)
    chunk.unlink()
    (image,) = read(path)
    assert "1 of its 9 chunks are absent" in image.problem
    write_zarr(path, FIELD, version=version, compressors=None)
    chunk = chunks_of(path)[0]
    data = chunk.read_bytes()
    for torn in (data[: half - 33], data[: half - 33] + bytes(len(data) - half + 33)):
        chunk.write_bytes(torn)
        (image,) = read(path)
        assert image.pixels is None, len(torn)


def test_chunks_within_shards(path: Path) -> None:
    write_zarr(path, FIELD, version=3, shards=(1, 1, 1, 192, 192))
    (image,) = read(path)
    assert np.array_equal(image.pixels, FIELD[0, 0, 0])
    (shard,) = chunks_of(path)
    shard.write_bytes(shard.read_bytes()[:-100])
    assert read(path)[0].pixels is None


@both
def test_torn_metadata_lose_the_file(path: Path, version: int) -> None:
    write_zarr(path, FIELD, version=version)
    names = (".zattrs", "0/.zarray") if version == 2 else ("zarr.json", "0/zarr.json")
    for name in names:
        file = path / name
        data = file.read_bytes()
        for torn in (b"", data[: len(data) // 2], b"[" * 100_000):
            file.write_bytes(torn)
            (image,) = read(path)
            assert image.lost, (name, torn[:5])
        file.write_bytes(data)
    assert read(path)[0].pixels is not None


def test_other_versions_axes_and_codecs_are_refused(path: Path) -> None:
    write_zarr(path, FIELD)
    attributes, array = path / ".zattrs", path / "0/.zarray"
    kept = attributes.read_text(), array.read_text()
    for old, new, said in (
        ('"0.4"', '"0.2"', "version 0.2"),
        ('"name": "c"', '"name": "q"', "axes"),
        ("0.4", "", "none"),
    ):
        change(attributes, old, new)
        (image,) = read(path)
        assert image.unclear
        assert said in image.problem
        attributes.write_text(kept[0])
    said = json.loads(kept[0])
    said["multiscales"][0]["datasets"][0]["path"] = "../b.ome.zarr/0"
    attributes.write_text(json.dumps(said))
    assert read(path)[0].pixels is None
    attributes.write_text(kept[0])
    for filters in ([{"id": "pickle"}], [{"id": "fixedscaleoffset", "scale": 1, "offset": 0, "dtype": "<u2"}]):
        array.write_text(json.dumps({**json.loads(kept[1]), "filters": filters}))
        (image,) = read(path)
        assert image.pixels is None
        assert filters[0]["id"] in image.problem or "pick" in image.problem


def test_what_asks_for_too_much_is_refused_before_it_is_read(path: Path) -> None:
    write_zarr(path, FIELD)
    array = path / "0/.zarray"
    said = json.loads(array.read_text())
    side = 1 << 20
    for change_to in ({"chunks": [1, 1, 1, side, side]}, {"shape": [1, 1, 1, side, side]}):
        array.write_text(json.dumps({**said, **change_to}))
        (image,) = read(path)
        assert "too large" in image.problem or "MiB" in image.problem


def test_images_in_the_layout_of_bioformats2raw_are_positions(path: Path) -> None:
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    group.attrs.put({"bioformats2raw.layout": 3})
    for i in range(3):
        write_zarr(path / str(i), FIELD + np.uint16(i))
    found = read(path)
    assert [np.array_equal(image.pixels, FIELD[0, 0, 0] + i) for i, image in enumerate(found)] == [True] * 3
    write_zarr(path / "3", FIELD[..., :100])
    (asked,) = read(path)
    assert "not of one kind" in asked.problem


@both
def test_each_well_of_a_plate_is_a_slide(tmp_path: Path, version: int) -> None:
    root = tmp_path / "e"
    fields = [FIELD + np.uint16(i) for i in range(3)]
    write_plate(root / "D1/P.ome.zarr", {"A/1": fields[:2], "B/03": fields[2:]}, version=version)
    write_zarr(root / "D1/single.zarr", FIELD, version=version)
    assert recognise_input(root, "folder-per-slide").kind == "fields"
    slides = list(find_slides(root, kind="fields"))
    assert [(slide.name, slide.path, len(slide.files)) for slide in slides] == [
        ("D1", "D1", 1),
        ("P_A1", "D1/P.ome.zarr/A/1", 1),
        ("P_B03", "D1/P.ome.zarr/B/03", 1),
    ]
    assert all(slide.files[0].size > 0 for slide in slides)
    found = read(root / slides[1].files[0].path)
    assert [np.array_equal(image.pixels, fields[i][0, 0, 0]) for i, image in enumerate(found)] == [True, True]
    (last,) = read(root / slides[2].files[0].path)
    assert np.array_equal(last.pixels, fields[2][0, 0, 0])


def test_a_plate_without_wells_or_with_odd_ones_is_a_failed_slide(tmp_path: Path) -> None:
    plate = tmp_path / "e/D1/P.zarr"
    for wells in ([], [{"path": "../../x"}], [{"path": 3}]):
        shutil.rmtree(plate, ignore_errors=True)
        zarr.open_group(str(plate), mode="w", zarr_format=2).attrs.put({"plate": {"wells": wells}})
        (slide,) = find_slides(tmp_path / "e", kind="fields")
        assert slide.refused is not None
        assert "plate" in slide.refused[0]


def test_acquisitions_of_a_well_are_times(tmp_path: Path) -> None:
    plate = tmp_path / "P.zarr"
    fields = [FIELD + np.uint16(i) for i in range(4)]
    write_plate(plate, {"A/1": fields})
    said = json.loads((plate / "A/1/.zattrs").read_text())
    for i, image in enumerate(said["well"]["images"]):
        image["acquisition"] = i // 2
    (plate / "A/1/.zattrs").write_text(json.dumps(said))
    (asked,) = read(plate / "A/1")
    assert "--time" in asked.problem
    found = read(plate / "A/1", PageOptions(time=2))
    assert [np.array_equal(image.pixels, fields[2 + i][0, 0, 0]) for i, image in enumerate(found)] == [True, True]
    said["well"]["images"][0]["acquisition"] = 1
    (plate / "A/1/.zattrs").write_text(json.dumps(said))
    assert "acquisitions" in read(plate / "A/1")[0].problem


def test_a_folder_is_a_copy_of_one_with_the_same_files(tmp_path: Path) -> None:
    write_zarr(tmp_path / "e/S1/a.zarr", FIELD)
    shutil.copytree(tmp_path / "e/S1", tmp_path / "e/S2")
    first, second = find_slides(tmp_path / "e", kind="fields")
    assert second.copy_of == first.slide_id
    chunk = chunks_of(tmp_path / "e/S2/a.zarr")[0]
    data = bytearray(chunk.read_bytes())
    data[-1] ^= 1
    chunk.write_bytes(data)
    assert [slide.copy_of for slide in find_slides(tmp_path / "e", kind="fields")] == [None, None]


def test_a_chunk_that_was_just_written_makes_its_slide_wait(path: Path) -> None:
    write_zarr(path, FIELD)
    digest, size = digest_of(str(path)), state_of(str(path)).size
    old = 1_600_000_000
    for file in (*path.rglob("*"), path):
        os.utime(file, (old, old))
    assert state_of(str(path)).mtime_ns == old * 10**9
    os.utime(chunks_of(path)[0])
    assert state_of(str(path)).mtime_ns > old * 10**9
    (slide,) = find_slides(path.parents[1], kind="fields", settle_seconds=600)
    assert slide.waits is not None
    chunks_of(path)[0].write_bytes(b"x")
    assert digest_of(str(path)) != digest
    assert state_of(str(path)).size < size


def test_where_a_path_leads_into_a_folder_image() -> None:
    assert folder_format("/e/P.ome.ZARR/B/03") == "zarr"
    assert folder_format("/e/P.zarr/B/03/a.tif") == ""
    assert folder_format("/e/S1/03") == ""


def test_an_export_that_is_itself_an_image_says_so(path: Path) -> None:
    write_zarr(path, FIELD)
    with pytest.raises(NoInputError, match="one image"):
        next(iter(find_slides(path, kind="fields")))


def test_for_crops_it_is_a_failed_slide_and_is_not_walked(path: Path) -> None:
    write_zarr(path, FIELD)
    (slide,) = find_slides(path.parents[1], kind="crops")
    assert slide.refused is not None
    assert "--input fields" in slide.refused[1]
