"""DICOM whole slides through OpenSlide: all files of a folder are one slide, of one series, or it fails.

The files are made here, from the standard; none came from a scanner.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mnbatch.assay.cells import Slide
from mnbatch.errors import SlideError
from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.formats.whole_slides import open_scans
from mnbatch.imaging.inputs import recognise_input
from tests.imaging.dicom_slide import dicom_slide

pytest.importorskip("openslide", reason="DICOM whole slides need OpenSlide: pip install 'mnbatch[vendor]'")

PICTURE = np.random.default_rng(0).integers(0, 255, (256, 320, 3), dtype=np.uint8)


def write(folder: Path, series: str = "1.2.3") -> None:
    folder.mkdir(parents=True)
    for number, step in enumerate((1, 4)):
        (folder / f"{number}.dcm").write_bytes(dicom_slide(PICTURE[::step, ::step], series=series, um=0.25 * step))


def found(export: Path, layout: str = "folder-per-slide") -> list[Slide]:
    return list(find_slides(export, kind="wsi", layout=layout))


def test_the_files_of_a_folder_are_one_slide(tmp_path: Path) -> None:
    write(tmp_path / "D1/S1")
    write(tmp_path / "D1/S2", series="1.2.4")
    assert recognise_input(tmp_path, "folder-per-slide").kind == "wsi"
    slides = found(tmp_path, "donor-slide-folders")
    assert [(slide.donor, slide.name, len(slide.files), len(slide.everything)) for slide in slides] == [
        ("D1", "S1", 1, 2),
        ("D1", "S2", 1, 2),
    ]
    (scan,) = open_scans(str(tmp_path / slides[0].files[0].path), "S1", None)
    assert (scan.width, scan.height, scan.um) == (320, 256, 0.25)
    assert np.array_equal(scan.read(10, 20, 200, 100), PICTURE[20:120, 10:210])


def test_several_series_in_a_folder_fail(tmp_path: Path) -> None:
    write(tmp_path / "S1")
    (tmp_path / "S1/other.dcm").write_bytes(dicom_slide(PICTURE[::2, ::2], series="1.2.4"))
    (slide,) = found(tmp_path)
    with pytest.raises(SlideError, match="2 series"):
        open_scans(str(tmp_path / slide.files[0].path), slide.name, None)


def test_a_file_that_is_no_whole_slide_fails_it(tmp_path: Path) -> None:
    write(tmp_path / "S1")
    (tmp_path / "S1/report.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 100)
    (slide,) = found(tmp_path)
    with pytest.raises(SlideError, match="cannot be opened"):
        open_scans(str(tmp_path / slide.files[0].path), slide.name, None)


@pytest.mark.parametrize("pattern", ["{donor}/{slide}/*.{whole}", "{donor}/{slide}/*.dcm"])
def test_a_pattern_may_name_the_folder(tmp_path: Path, pattern: str) -> None:
    write(tmp_path / "D1/S1")
    (slide,) = found(tmp_path, pattern)
    assert (slide.donor, slide.name, len(slide.files)) == ("D1", "S1", 1)
