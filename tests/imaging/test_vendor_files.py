"""Microscopes' own files: read by the rules of pages where their reader is installed; else a failed slide names it.

CZI files are written by the library that reads them; none came from a microscope.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from mnbatch.assay.page_options import NO_OPTIONS, PageOptions
from mnbatch.imaging import foreign_files
from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.fields.field_images import load_fields
from mnbatch.imaging.formats import vendor_files, vendor_pictures
from mnbatch.imaging.formats.czi import CZI
from mnbatch.imaging.formats.registry import VENDORS
from mnbatch.imaging.formats.size_limits import UndecodableError
from mnbatch.imaging.formats.vendor_files import VendorContent, VendorFormat
from mnbatch.imaging.inputs import recognise_input


class Drawn:
    """2 positions, 3 channels, 4 planes of noise."""

    content = VendorContent(2, 1, 3, 4, ("Actin", "DAPI", "FITC"), 0.325, 0.325)
    side = (40, 30)

    def size(self, position: int, channel: int) -> tuple[int, int]:
        return self.side

    def read(self, position: int, time: int, channel: int, plane: int) -> np.ndarray:
        assert time == 0
        seed = 100 * position + 10 * channel + plane
        return np.random.default_rng(seed).integers(0, 4000, (30, 40), dtype=np.uint16)


def drawn(file: Drawn) -> VendorFormat:
    @contextmanager
    def opened(path: str) -> Iterator[Drawn]:
        yield file

    return VendorFormat("drawn", ("drawn",), "json", opened)


def read(file: Drawn, options: PageOptions) -> list[np.ndarray]:
    found = [pixels for _, pixels, _ in vendor_pictures.vendor_pictures("x.drawn", drawn(file), options)]
    assert not any(isinstance(pixels, UndecodableError) for pixels in found), found
    return found  # type: ignore[return-value]


def test_each_position_is_a_field_of_the_nuclear_channel() -> None:
    file = Drawn()
    found = read(file, PageOptions(planes="2"))
    assert len(found) == 2
    assert np.array_equal(found[1], file.read(1, 0, 1, 1))
    brightest = read(file, PageOptions(planes="max"))
    assert np.array_equal(brightest[0], np.max([file.read(0, 0, 1, plane) for plane in range(4)], axis=0))
    named = read(file, PageOptions(planes="1", channel="fitc"))
    assert np.array_equal(named[0], file.read(0, 0, 2, 0))


def test_planes_and_channels_are_asked_about() -> None:
    with pytest.raises(UndecodableError, match="planes"):
        read(Drawn(), NO_OPTIONS)
    unnamed = Drawn()
    unnamed.content = replace(Drawn.content, names=())
    with pytest.raises(UndecodableError, match="--nuclear-channel"):
        read(unnamed, PageOptions(planes="max"))


def test_huge_pictures_are_refused_before_they_are_read() -> None:
    huge = Drawn()
    huge.side = (1 << 20, 1 << 20)
    (first, *_) = (p for _, p, _ in vendor_pictures.vendor_pictures("x", drawn(huge), PageOptions(planes="1")))
    assert isinstance(first, UndecodableError)
    many = Drawn()
    many.content = replace(Drawn.content, planes=1 << 30)
    with pytest.raises(UndecodableError):
        read(many, NO_OPTIONS)


@pytest.fixture
def no_reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if the extra was not installed."""
    monkeypatch.setattr(vendor_files, "find_spec", lambda name: None)
    foreign_files.readable_field_files.cache_clear()
    yield
    foreign_files.readable_field_files.cache_clear()


@pytest.mark.parametrize("extension", [extension for known in VENDORS for extension in known.extensions])
@pytest.mark.usefixtures("no_reader")
def test_without_its_reader_the_slide_fails_with_what_to_install(tmp_path: Path, extension: str) -> None:
    file = tmp_path / f"S1/a.{extension}" / ("0/.zarray" if extension == "zarr" else "")
    file.parent.mkdir(parents=True)
    file.write_bytes(b"ZISRAWFILE")
    for kind in ("crops", "fields"):
        (slide,) = find_slides(tmp_path, kind=kind)  # type: ignore[arg-type]
        assert slide.refused is not None
        assert "pip install 'mnbatch[vendor]'" in slide.refused[1]
    with pytest.raises(UndecodableError, match="pip install"):
        next(vendor_pictures.vendor_pictures(str(file), VENDORS[0], NO_OPTIONS))


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("a.vsi", "In CellSens or FluoView, save or convert it as TIFF or OME-TIFF"),
        ("a.oir", "In CellSens or FluoView"),
        ("a.c01", "In HCS Studio, export its images as TIFF"),
        ("a.cif", "In IDEAS, create TIFs (TIFF files) from the data file"),
        ("a.daf", "In IDEAS, create TIFs (TIFF files) from the data file"),
        ("a.lof", "In LAS X, export it as TIFF with metadata"),
        ("a.ims", "Export it from its software as OME-TIFF"),
    ],
)
def test_a_format_that_is_not_read_fails_with_the_step_of_its_program(tmp_path: Path, name: str, step: str) -> None:
    (tmp_path / "S1").mkdir()
    (tmp_path / "S1" / name).write_bytes(b"anything")
    for kind in ("crops", "fields", "wsi"):
        (slide,) = find_slides(tmp_path, kind=kind)  # type: ignore[arg-type]
        assert slide.refused is not None
        assert "does not read" in slide.refused[0]
        assert slide.refused[1].startswith(step)
        assert "docs/exports.md" in slide.refused[1]


def test_two_vendors_in_one_slide_fail_with_a_step_for_both(tmp_path: Path) -> None:
    (tmp_path / "S1").mkdir()
    for name in ("a.oir", "b.c01"):
        (tmp_path / "S1" / name).write_bytes(b"anything")
    (slide,) = find_slides(tmp_path, kind="fields")
    assert slide.refused is not None
    assert "CellSens or FluoView, Cellomics" in slide.refused[0]
    assert slide.refused[1].startswith("Export it from its software")


def test_no_reader_is_imported_for_other_files(tmp_path: Path) -> None:
    path = tmp_path / "e/S1/a.tif"
    path.parent.mkdir(parents=True)
    tifffile.imwrite(path, picture(0, 0, 0))
    program = f"""
import sys
from pathlib import Path
import mnbatch
from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.fields.field_images import load_fields
assert [slide.name for slide in find_slides(Path({str(path.parents[1])!r}), kind="fields")] == ["S1"]
assert all(image.pixels is not None for image in load_fields({str(path)!r}, None)[1])
print(*sorted({{name.partition(".")[0] for name in sys.modules}} & {{"pylibCZIrw", "nd2", "liffile", "zarr", "dask"}}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("", 0), done.stderr


@pytest.fixture
def czi(tmp_path: Path) -> Path:
    """Two scenes, two channels, three planes."""
    writer = pytest.importorskip("pylibCZIrw.czi", reason="CZI needs pylibCZIrw: pip install 'mnbatch[vendor]'")
    path = tmp_path / "e/S1/a.czi"
    path.parent.mkdir(parents=True)
    with writer.create_czi(str(path)) as file:
        for scene, channel, plane in np.ndindex(2, 2, 3):
            pixels = picture(scene, channel, plane)
            at = {"C": channel, "Z": plane, "T": 0}
            file.write(pixels, location=(scene * 200, 0), plane=at, scene=scene)
        file.write_metadata("doc", channel_names={0: "FITC", 1: "DAPI"}, scale_x=0.325e-6, scale_y=0.325e-6)
    return path


def picture(scene: int, channel: int, plane: int) -> np.ndarray:
    return np.random.default_rng(100 * scene + 10 * channel + plane).integers(0, 4000, (60, 80), dtype=np.uint16)


def test_a_czi_of_scenes_channels_and_planes(czi: Path) -> None:
    found = list(load_fields(str(czi), PageOptions(planes="3"))[1])
    assert [image.page for image in found] == [0, 1]
    assert found[0].um_per_pixel == pytest.approx(0.325)
    for scene, image in enumerate(found):
        assert image.pixels is not None
        assert np.array_equal(image.pixels, picture(scene, 1, 2))
    (asked,) = load_fields(str(czi), NO_OPTIONS)[1]
    assert asked.unclear
    assert "--planes" in asked.problem


def test_an_export_of_czi_is_one_of_fields(czi: Path) -> None:
    export = czi.parents[1]
    assert recognise_input(export, "folder-per-slide").kind == "fields"
    (slide,) = find_slides(export, kind="fields")
    assert (slide.name, len(slide.files), slide.refused) == ("S1", 1, None)
    (wrong,) = find_slides(export, kind="crops")
    assert wrong.refused is not None
    assert "--input fields" in wrong.refused[1]


def test_a_torn_czi_is_unreadable(czi: Path) -> None:
    data = czi.read_bytes()
    for torn in (data[: len(data) // 2], data[:100], data[: len(data) // 2] + bytes(len(data) - len(data) // 2)):
        czi.write_bytes(torn)
        found = list(load_fields(str(czi), PageOptions(planes="3"))[1])
        assert all(image.problem for image in found), torn[:20]
    assert CZI.installed
