"""Files that are no cells, and files that hold cells but are not read: the right files, or a failed slide."""

from __future__ import annotations

import os
import shutil
import unicodedata
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnbatch.assay.cells import Skipped, Slide
from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.foreign_files import readable_field_files
from mnbatch.imaging.inputs import recognise_input
from mnbatch.imaging.litter import images_below, litter_reason
from tests.imaging.imaging_helpers import put

LITTER_FOLDERS = (
    *(
        "@eaDir",
        "#recycle",
        "@Recycle",
        "#snapshot",
        "~snapshot",
        ".snapshot",
        "lost+found",
        "System Volume Information",
    ),
    *(".Trash-1000", "__MACOSX", "$RECYCLE.BIN", "@Recently-Snapshot"),
)
LITTER_FILES = ("._1.png", "~$1.png", "1.png.part", "1.tif.tmp", "Thumbs.db", "desktop.ini", ".DS_Store")
COMPANIONS = (
    *("1_mask.png", "1_seg.tif", "1_cp_masks.png", "1_cp_outlines.png", "mask_1.png", "masks/1.png", "labels/1.tif"),
    *("overview.png", "label.jpg", "macro.jpg", "S1_overview.png", "Thumbs/x.jpg", "previews/y.png"),
)
UNFINISHED = (".3.png.icloud", ".3.png.~1a2b", "~syncthing~3.png.tmp", ".syncthing.3.png.tmp", "3.png.part")
UNREAD = ("S2.zip", "S2/crops.7z", "S2/1.tif.gz", "S2/1.nef", "S2/1.jfif", "S2/a.xlef", "S2/1.pgm")
VENDOR = ("czi", "nd2", "lif", "vsi", "oir", "dicom", "c01", "cif", "daf")


def slides_of(export: Path, **options: object) -> tuple[dict[str, Slide], list[str]]:
    said: list[Skipped] = []
    slides = {slide.path: slide for slide in find_slides(export, explain=said.append, **options)}  # type: ignore[arg-type]
    return slides, [skipped.path for skipped in said]


@pytest.mark.parametrize("folder", LITTER_FOLDERS)
def test_what_servers_and_systems_keep_is_no_slide(export: Path, folder: str) -> None:
    put(export, "S1/1.png")
    put(export, f"{folder}/S1/2.png", seed=1)
    put(export, f"S1/{folder}/3.png", seed=2)
    assert list(slides_of(export)[0]) == ["S1"]


@pytest.mark.parametrize("name", [*LITTER_FILES, *COMPANIONS])
def test_what_lies_beside_crops_is_left_out_and_said(export: Path, name: str) -> None:
    put(export, "S1/1.png")
    put(export, "S1/2.png", seed=1)
    put(export, f"S1/{name}", seed=2)
    slides, said = slides_of(export)
    assert [file.path for file in slides["S1"].files] == ["S1/1.png", "S1/2.png"]
    assert len(slides) == 1
    assert any(f"S1/{name}".startswith(path) for path in said)


def test_a_folder_named_masks_that_mirrors_nothing_is_a_slide(export: Path) -> None:
    put(export, "S1/1.png")
    put(export, "masks/a.png", seed=1)
    assert set(slides_of(export)[0]) == {"S1", "masks"}


@pytest.mark.parametrize("extension", VENDOR)
def test_a_vendor_file_is_a_failed_slide_with_a_next_step(export: Path, extension: str) -> None:
    put(export, "S1/1.png")
    put(export, f"V/scan.{extension}", b"vendor")
    refused = slides_of(export)[0]["V"].refused
    assert refused is not None
    if extension in readable_field_files():
        assert "fields in an export that was read as one of crops" in refused[0]
        return
    assert "mnbatch does not read" in refused[0]
    assert "TIFF" in refused[1]


@pytest.mark.parametrize("name", UNREAD)
def test_what_may_hold_cells_and_is_not_read_is_a_failed_slide(export: Path, name: str) -> None:
    put(export, "S1/1.png")
    put(export, name, b"PK\3\4")
    slides = slides_of(export)[0]
    assert len(slides) == 2
    assert [path for path, slide in slides.items() if not slide.refused] == ["S1"]


@pytest.mark.parametrize("content", [b"II*\0image", b"\x89PNG\r\n\x1a\n", bytes(128) + b"DICM"])
@pytest.mark.parametrize("name", ["IM0001", "img.001", "1.2.840.113619.2"])
def test_images_without_an_extension_are_a_failed_slide(export: Path, name: str, content: bytes) -> None:
    put(export, "S1/1.png")
    put(export, "S1/notes", b"text")
    put(export, f"S2/{name}", content)
    slides = slides_of(export)[0]
    assert slides["S1"].refused is None
    assert "images by their content" in (slides["S2"].refused or ("", ""))[0]
    assert "extension" in (slides["S2"].refused or ("", ""))[1]


def test_an_archive_of_the_images_and_raw_files_beside_them_are_left_out_and_said(export: Path) -> None:
    for name in ("S1/1.tif", "S1/1.nef"):
        put(export, name, b"II*\0")
    with zipfile.ZipFile(export / "S1/backup.zip", "w") as backup:
        backup.write(export / "S1/1.tif", "1.tif")
    slides, said = slides_of(export)
    assert (slides["S1"].refused, len(slides["S1"].files)) == (None, 1)
    assert sorted(said) == ["S1/1.nef", "S1/backup.zip"]


@pytest.mark.parametrize("name", UNFINISHED)
def test_what_is_not_fetched_yet_makes_its_slide_wait(export: Path, name: str) -> None:
    put(export, "S1/1.png")
    put(export, f"S1/{name}", b"")
    assert slides_of(export)[0]["S1"].waits is not None


def test_a_lone_thumbnail_is_no_slide(export: Path) -> None:
    put(export, "S1/1.png")
    put(export, "S1/data/1/thumbnail.jpg", seed=1)
    put(export, "S1/preview.png", seed=2)
    assert list(slides_of(export)[0]) == ["S1"]


def test_a_folder_that_cannot_be_read_is_a_failed_slide_of_its_donor(
    export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("D1/S1/1.png", "D2/S2/1.png", "D3/S3/1.png"):
        put(export, name)
    scandir = os.scandir

    def refused(path: str | Path = ".") -> object:
        if str(path).endswith(("D2/S2", "D3")):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    slides = slides_of(export, layout="donor-slide-folders")[0]
    assert {path: slide.donor for path, slide in slides.items()} == {"D1/S1": "D1", "D2/S2": "D2", "D3": "D3"}
    assert "cannot be read (Permission denied)" in (slides["D2/S2"].refused or ("", ""))[0]
    assert slides["D3"].refused


def test_a_zarr_folder_is_a_failed_slide(export: Path) -> None:
    put(export, "S1/1.png")
    put(export, "V.ome.zarr/0/.zarray", b"{}")
    slides = slides_of(export)[0]
    assert slides["V.ome.zarr"].refused
    assert slides["V.ome.zarr"].name == "V"


def test_a_vendor_file_beside_crops_is_asked_about_and_left_out_when_said(export: Path) -> None:
    put(export, "S1/1.png")
    put(export, "S1/raw.czi", b"vendor")
    assert "--input crops" in (slides_of(export)[0]["S1"].refused or ("", ""))[1]
    slides, said = slides_of(export, stated=True)
    assert slides["S1"].refused is None
    assert said == ["S1/raw.czi"]


def test_one_whole_slide_does_not_turn_crops_into_whole_slides(export: Path) -> None:
    put(export, "A.svs", b"II*\0")
    for number in range(5):
        put(export, f"S1/{number}.png", seed=number)
    assert recognise_input(export, "folder-per-slide").kind == "crops"
    slides = slides_of(export)[0]
    assert slides["A.svs"].refused
    assert len(slides["S1"].files) == 5


def test_files_of_one_name_and_format_are_copies_only_when_identical(export: Path) -> None:
    put(export, "S1/0.tif", b"II*\0one")
    put(export, "S1/0.TIF", b"II*\0two")
    put(export, "S2/0.tif", b"II*\0one")
    put(export, "S2/0.tiff", b"II*\0one")
    slides = slides_of(export)[0]
    assert [len(slides[name].files) for name in ("S1", "S2")] == [2, 1]
    assert slides_of(export, kind="fields")[0]["S1"].refused


def test_galleries_of_one_stem_are_two_slides(export: Path) -> None:
    put(export, "S1.tif", b"II*\0one")
    put(export, "S1.tiff", b"II*\0two")
    assert len(slides_of(export, layout="tiff-galleries")[0]) == 2


def test_donors_are_compared_in_one_form_of_unicode(export: Path) -> None:
    for number, form in enumerate(("NFC", "NFD")):
        put(export, f"{unicodedata.normalize(form, 'Bär')}/S{number}/1.png", seed=number)  # type: ignore[arg-type]
    slides = slides_of(export, layout="donor-slide-folders")[0]
    assert {slide.donor for slide in slides.values()} == {"Bär"}
    assert all((export / file.path).is_file() for slide in slides.values() for file in slide.files)


def test_sorted_crops_are_read_without_litter_and_masks(tmp_path: Path) -> None:
    for name in ("1.png", "@eaDir/1.png", "1_mask.png", "masks/1.png", "more/2.png", "._3.png"):
        put(tmp_path, name)
    assert [path.name for path in images_below(tmp_path)] == ["1.png", "2.png"]


@pytest.mark.parametrize("name", ["cell_1.tif", "Smith", "snapshot1.png", "S#1", "1_label2.png", "recycled cells"])
def test_names_of_cells_are_no_litter(name: str) -> None:
    assert litter_reason(name, folder=False) == ""


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    litter=st.sets(st.sampled_from([*(f"{f}/9.png" for f in LITTER_FOLDERS), *LITTER_FILES, *COMPANIONS])),
    vendor=st.sets(st.sampled_from(VENDOR), max_size=3),
    cells=st.integers(2, 5),
)
def test_any_export_gives_its_cells_or_failed_slides(
    tmp_path: Path, litter: set[str], vendor: set[str], cells: int
) -> None:
    export = tmp_path / "generated"
    shutil.rmtree(export, ignore_errors=True)
    for number in range(1, cells + 1):
        put(export, f"S1/{number}.png", seed=number)
    for number, name in enumerate(sorted(litter)):
        put(export, f"S1/{name}", seed=100 + number)
    for extension in vendor:
        put(export, f"V{extension}/scan.{extension}", extension.encode())
    slides, _ = slides_of(export)
    assert [file.path for file in slides["S1"].files] == [f"S1/{n}.png" for n in range(1, cells + 1)]
    assert {path for path, slide in slides.items() if slide.refused} == {f"V{extension}" for extension in vendor}
    assert len(slides) == 1 + len(vendor)
