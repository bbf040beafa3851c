"""Simulated exports: truth beside, never inside; same seed, same bytes; the Poisson law."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from mnbatch.errors import StorageError, UsageError
from mnbatch.imaging.discovery import find_slides
from mnbatch.simulate.export_plan import XRAYS
from mnbatch.simulate.simulated_export import SAMPLE_COLUMNS, TRUTH_COLUMNS, simulate_export
from tests.simulate.folders import digests, rows_of

SMALL = {"donors": 2, "slides": 1, "cells": 3, "size": 64, "doses": (0.0, 4.0)}


def test_same_seed_gives_the_same_bytes_also_in_parallel(tmp_path: Path) -> None:
    simulate_export(tmp_path / "a", **SMALL, stain="both")
    simulate_export(tmp_path / "b", **SMALL, stain="both", workers=2)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    simulate_export(tmp_path / "c", **SMALL, stain="both", seed=2)
    assert digests(tmp_path / "a" / "export") != digests(tmp_path / "c" / "export")


def test_more_donors_slides_and_cells_leave_the_first_ones_as_they_were(tmp_path: Path) -> None:
    simulate_export(tmp_path / "few", **SMALL)
    simulate_export(tmp_path / "more", donors=3, slides=2, cells=4, size=64, doses=(0.0, 4.0))
    few, more = digests(tmp_path / "few" / "export"), digests(tmp_path / "more" / "export")
    assert few.items() <= more.items()
    assert len(more) == 24


def test_truth_lies_beside_the_export_and_nothing_in_the_export_tells_it(tmp_path: Path) -> None:
    made = simulate_export(tmp_path / "x", **SMALL)
    assert made.truth == tmp_path / "x" / "truth.csv"
    files = [path for path in made.export.rglob("*") if path.is_file()]
    assert len(files) == made.cells == 6
    for path in files:
        assert path.suffix == ".tif"
        assert "mn" not in path.relative_to(made.export).as_posix().lower()
        with tifffile.TiffFile(path) as tiff:
            names = set(tiff.pages[0].tags.keys())
        assert not names & {270, 305, 306, 315, 700, 34665}  # description, software, date, artist, XMP, EXIF


def test_truth_and_sample_sheet_have_stated_columns_and_every_file(tmp_path: Path) -> None:
    made = simulate_export(tmp_path / "x", **SMALL)
    truth, samples = rows_of(made.truth), rows_of(made.samples)
    assert tuple(truth[0]) == TRUTH_COLUMNS
    assert tuple(samples[0]) == SAMPLE_COLUMNS
    assert {row["file"] for row in truth} == set(digests(made.export))
    assert all(row["mn"] == str(int(int(row["n_mn"]) > 0)) for row in truth)
    assert [(row["slide"], row["donor"], row["dose_gy"]) for row in samples] == [
        ("D01-1", "D01", "0"),
        ("D02-1", "D02", "4"),
    ]


def test_numbers_of_micronuclei_follow_the_curve(tmp_path: Path) -> None:
    made = simulate_export(
        tmp_path / "x", donors=1, slides=1, cells=400, size=64, doses=(4.0,), fmt="jpg", stain="giemsa"
    )
    counts = np.array([int(row["n_mn"]) for row in rows_of(made.truth)])
    mean = XRAYS.mean(4.0)
    assert mean == pytest.approx(0.6424)
    assert abs(counts.mean() - mean) < 4 * np.sqrt(mean / counts.size)
    # Poisson: the variance equals the mean (standard error of a variance of 400 counts is about 9 %).
    assert counts.var() / mean == pytest.approx(1.0, abs=0.35)
    assert made.micronuclei == counts.sum()
    assert made.cells_with_mn == (counts > 0).sum()


def test_every_layout_is_found_by_the_crawl(tmp_path: Path) -> None:
    for layout in ("donor-slide-folders", "folder-per-slide", "flat-files", "tiff-galleries"):
        made = simulate_export(tmp_path / layout, **SMALL, layout=layout)
        slides = list(find_slides(made.export, layout=layout))
        assert [slide.name for slide in slides] == ["D01-1", "D02-1"]
        if layout in ("donor-slide-folders", "flat-files"):
            assert [slide.donor for slide in slides] == ["D01", "D02"]


def test_gallery_has_a_page_a_cell(tmp_path: Path) -> None:
    made = simulate_export(tmp_path / "x", **SMALL, layout="tiff-galleries", stain="giemsa")
    with tifffile.TiffFile(made.export / "D01-1.tif") as tiff:
        assert len(tiff.pages) == 3
        assert tiff.pages[0].asarray().shape == (64, 64, 3)
    assert [row["page"] for row in rows_of(made.truth)][:3] == ["0", "1", "2"]


def test_files_have_the_stated_type(tmp_path: Path) -> None:
    made = simulate_export(tmp_path / "x", **SMALL)
    first = tifffile.imread(made.export / "D01" / "D01-1" / "cell_0001.tif")
    assert first.dtype == np.uint16
    assert first.shape == (64, 64)
    for fmt in ("png", "jpg"):
        other = simulate_export(tmp_path / fmt, **SMALL, fmt=fmt)
        assert all(name.endswith(fmt) for name in digests(other.export))


def test_directory_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        simulate_export(tmp_path, **SMALL)
    simulate_export(tmp_path, **SMALL, force=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_simulated_export_is_replaced_whole(tmp_path: Path) -> None:
    simulate_export(tmp_path / "x", **SMALL)
    made = simulate_export(tmp_path / "x", **{**SMALL, "donors": 1})
    assert len(digests(made.export)) == 3
    assert len(rows_of(made.truth)) == 3


def test_replacing_never_deletes_files_of_others(tmp_path: Path) -> None:
    made = simulate_export(tmp_path / "x", **SMALL)
    own = made.export / "D01" / "scan.tif"
    own.write_bytes(b"mine")
    before = digests(made.export)
    with pytest.raises(UsageError, match=r"scan\.tif"):
        simulate_export(tmp_path / "x", **SMALL)
    assert digests(made.export) == before


def test_what_cannot_be_simulated_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for wrong in (
        {"cells": 0},
        {"doses": ()},
        {"doses": (-1.0,)},
        {"size": 8},
        {"seed": -1},
        {"variety": 2.0},
    ):
        with pytest.raises(UsageError):
            simulate_export(tmp_path / "x", **{**SMALL, **wrong})
    with pytest.raises(UsageError, match="gallery"):
        simulate_export(tmp_path / "x", **SMALL, layout="tiff-galleries", fmt="png")
    assert not (tmp_path / "x").exists()


def test_unwritable_place_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Cannot write"):
        simulate_export(tmp_path / "file" / "x", **SMALL)


def test_negative_dose_has_no_mean() -> None:
    with pytest.raises(ValueError, match="negative"):
        XRAYS.mean(-1.0)
