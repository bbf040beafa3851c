"""Images and empty folders that are in no slide are said where a person reads, or fail a slide."""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from mnbatch.app.night_summary import night
from mnbatch.app.out_status import out_status
from mnbatch.assay.cells import Skipped
from mnbatch.imaging import packed_images
from mnbatch.imaging.walk import EMPTY, HIDDEN_IMAGES, TOO_LARGE, UNFITTING, UNREAD
from mnbatch.pipeline.run import run
from mnbatch.pipeline.unplaced import Unplaced
from tests.in_process import mnbatch


class Told:
    """A progress that keeps warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def __getattr__(self, name: str):
        return lambda *_, **__: None


def rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / "slides.csv").open(encoding="utf-8-sig", newline="") as stream:
        return {row["slide"]: row for row in csv.DictReader(stream)}


def test_a_folder_of_images_one_level_too_high_is_a_failed_slide(settings, export: Path, tmp_path: Path) -> None:
    shutil.copytree(export / "D1/A", export / "D5")
    outcome = run(settings(layout="donor-slide-folders"))
    assert outcome.exit_code == 3
    failed = rows(tmp_path / "out")["D5"]
    assert failed["status"] == "failed"
    assert "its images (6) lie where the layout donor-slide-folders" in failed["reason"]
    assert outcome.unplaced == []


def test_images_beside_the_folders_and_an_empty_folder_are_said(settings, export: Path, tmp_path: Path) -> None:
    for number in range(2):
        shutil.copy(export / "D1/A/cell_000.png", export / f"stray{number}.png")
    (export / "D1/C").mkdir()
    told = Told()
    outcome = run(settings(layout="donor-slide-folders"), told)
    assert outcome.exit_code == 0
    images, empty = outcome.unplaced
    assert images.startswith("2 images without a place in the layout donor-slide-folders are in no slide")
    assert "(the export itself: 2)" in images
    assert "1 folder where a slide would be is empty (D1/C)" in empty
    assert [text for text in told.warnings if text in outcome.unplaced] == [images, empty]
    summary = night(tmp_path / "out", outcome, None, 0)["summary"]
    assert f"* In no slide: {images}\n" in summary
    assert f"* In no slide: {empty}\n" in summary
    assert "* See to what is in no slide" in summary
    found = out_status(tmp_path / "out")
    assert found.not_in_any_slide == (images, empty)
    assert found.exit_code == 0
    assert "images or folders are in no slide" in found.verdict
    assert f"in no slide: {images}\n" in mnbatch("status", tmp_path / "out").stdout


RAW = bytes(range(256)) * 8
"""Bytes that are neither an image nor text."""


def test_a_slides_folder_in_which_no_image_is_read_is_said(settings, export: Path, tmp_path: Path) -> None:
    for number in range(3):
        path = export / f"D1/C/c{number}.raw"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(RAW)
    (export / "D1/A/scan.dat").write_bytes(RAW)
    (export / "D1/docs").mkdir()
    (export / "D1/docs/readme.pdf").write_bytes(b"%PDF")
    told = Told()
    outcome = run(settings(layout="donor-slide-folders"), told)
    assert outcome.exit_code == 0
    (unread,) = outcome.unplaced
    assert unread.startswith("1 folder where a slide would be holds no image that is read (D1/C): ")
    assert unread in told.warnings
    assert f"* In no slide: {unread}\n" in night(tmp_path / "out", outcome, None, 0)["summary"]
    assert out_status(tmp_path / "out").not_in_any_slide == (unread,)


def test_packed_and_misnamed_cells_fail_their_slide(settings, export: Path, tmp_path: Path) -> None:
    cell = export / "D1/A/cell_000.png"
    (export / "D1/A/cell_000.png.gz").write_bytes(gzip.compress(cell.read_bytes()))
    cell.unlink()
    (export / "D1/B/cell_000.png").rename(export / "D1/B/cell_000.dat")
    outcome = run(settings(layout="donor-slide-folders"))
    assert outcome.exit_code == 3
    with (tmp_path / "out/slides.csv").open(encoding="utf-8-sig", newline="") as stream:
        found = {(row["donor"], row["slide"]): row for row in csv.DictReader(stream)}
    packed, misnamed = found["D1", "A"], found["D1", "B"]
    assert (packed["status"], misnamed["status"], found["D2", "A"]["status"]) == ("failed", "failed", "done")
    assert "D1/A/cell_000.png.gz: packed" in packed["reason"]
    assert "D1/B/cell_000.dat: an image by its content" in misnamed["reason"]
    summary = night(tmp_path / "out", outcome, None, 3)["summary"]
    assert "Unpack what belongs to the slide" in summary
    assert "the extension of its format" in summary


def test_where_input_is_given_what_it_leaves_out_of_a_slide_is_said(settings, export: Path) -> None:
    cell = export / "D1/A/cell_000.png"
    (export / "D1/A/cell_000.png.gz").write_bytes(gzip.compress(cell.read_bytes()))
    cell.unlink()
    outcome = run(settings(layout="donor-slide-folders", input="crops"))
    (hidden,) = outcome.unplaced
    assert hidden.startswith("1 file beside the images of their slides may be more of them")
    assert "(D1/A: 1)" in hidden
    assert outcome.exit_code == 0


def test_an_archive_that_is_too_large_to_look_through_is_said_and_fails_nothing(
    settings, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(export / "D1/A/logs.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("night.log")
        info.size = 50_000
        tar.addfile(info, io.BytesIO(bytes(info.size)))
    monkeypatch.setattr(packed_images, "_MOST_READ", {"gz": 20_000})
    outcome = run(settings(layout="donor-slide-folders"))
    assert outcome.exit_code == 0
    (large,) = outcome.unplaced
    assert large.startswith("1 archive, too large to look through, holds no image in the part that was (D1/A/logs.tar")


def test_a_plan_says_them_and_every_job_that_scores_it_does(export: Path, models, tmp_path: Path) -> None:
    shutil.copy(export / "D1/A/cell_000.png", export / "stray.png")
    (export / "D1/C").mkdir()
    out = tmp_path / "out"
    arguments = [export, "--out", out, "--layout", "donor-slide-folders", "--model", models["one"], "--plan-only"]
    for_people = mnbatch("run", *arguments)
    planned = mnbatch("run", *arguments, "--json")
    plan = tmp_path / "plan.json"
    plan.write_text(planned.stdout)
    images, empty = json.loads(planned.stdout)["not_in_any_slide"]
    assert images.startswith("1 image without a place")
    assert empty.startswith("1 folder where a slide would be is empty (D1/C)")
    for done in (for_people, planned):
        assert done.returncode == 0
        assert done.stderr.splitlines() == [f"warning: {images}", f"warning: {empty}"]
    job = mnbatch("score", out, "--slides", plan, "--run", "one", "-q")
    assert job.returncode == 0
    for sentence in (images, empty):
        assert " ".join(sentence.split()) in " ".join(job.stderr.split())


def test_no_name_is_said_under_pseudonyms(settings, export: Path) -> None:
    (export / "D1/Meier").mkdir()
    told = Told()
    outcome = run(settings(pseudonymise=True), told)
    (empty,) = outcome.unplaced
    assert "1 folder where a slide would be is empty: was" in empty
    assert not [text for text in (*told.warnings, *outcome.unplaced) if "Meier" in text]


@pytest.mark.parametrize("folders", [1, 3, 5])
def test_of_many_folders_some_are_named(folders: int) -> None:
    unplaced = Unplaced()
    for number in range(folders):
        unplaced.note(Skipped(f"F{number}/a.png", f"{UNFITTING} 'x'"))
        unplaced.note(Skipped(f"E{number}", EMPTY))
        unplaced.note(Skipped(f"U{number}", UNREAD))
        unplaced.note(Skipped(f"H{number}/a.tif.gz", HIDDEN_IMAGES))
        unplaced.note(Skipped(f"L{number}/a.tar.gz", TOO_LARGE))
    unplaced.note(Skipped("other.txt", "not an image file by its extension"))
    said = unplaced.sentences("x", named=True)
    images, hidden, large, unread, empty = said
    assert ["and 2 more" in sentence for sentence in said] == [folders == 5] * 5
    assert hidden.startswith(f"{folders} file")
    assert large.startswith(f"{folders} archive")
    assert "(L0/a.tar.gz" in large
    assert "(U0" in unread
    assert "(E0" in empty
    assert not [sentence for sentence in unplaced.sentences("x", named=False) if "0" in sentence.replace("100", "")]
    assert images.startswith(f"{folders} image")
    assert Unplaced().sentences("x", named=True) == []
