"""Links that lead nowhere or round in a circle, and links that put one slide under two donors."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from mnbatch.assay.cells import Skipped, Slide
from mnbatch.imaging import settling
from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.layouts import parse_layout
from mnbatch.imaging.links import LOOP, NOWHERE
from tests.imaging.imaging_helpers import put

DONORS = "donor-slide-folders"


def found(root: Path, **options: object) -> tuple[dict[str, Slide], dict[str, str]]:
    skipped: list[Skipped] = []
    slides = list(find_slides(root, explain=skipped.append, **options))  # type: ignore[arg-type]
    return {slide.path: slide for slide in slides}, {item.path: item.reason for item in skipped}


def link(root: Path, path: str, target: str | Path) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).symlink_to(target)


def code(slide: Slide) -> str:
    assert slide.refused is not None
    return slide.refused[0].code  # type: ignore[attr-defined]


# What leads nowhere.


def test_links_to_a_share_that_is_not_mounted_are_files_of_their_slide(export: Path) -> None:
    for seed in range(2):
        put(export, f"D1/S1/{seed}.png", seed=seed)
    for number in range(3):
        link(export, f"D1/S1/cell_{number}.tif", f"/not_mounted/{number}.tif")
        link(export, f"D1/S3/cell_{number}.tif", f"/not_mounted/3/{number}.tif")
    slides, skipped = found(export, layout=DONORS)
    assert [len(slide.files) for slide in slides.values()] == [5, 3]
    assert all(file.size == file.mtime_ns == 0 for file in slides["D1/S3"].files)
    assert skipped == {}


def test_folders_on_a_share_that_is_not_mounted_are_failed_slides(export: Path) -> None:
    put(export, "D1/S1/0.png")
    put(export, "D1/S3/0.png", seed=1)
    link(export, "D1/S2", "/not_mounted/S2")
    link(export, "D2", "/not_mounted/D2")
    slides, skipped = found(export, layout=DONORS)
    assert list(slides) == ["D1/S1", "D1/S2", "D1/S3", "D2"]
    assert [code(slides[path]) for path in ("D1/S2", "D2")] == ["folder-link-lost"] * 2
    assert [slides[path].donor for path in ("D1/S2", "D2")] == ["D1", "D2"]
    assert set(skipped) == {"D1/S2", "D2"}


def test_a_lost_folder_of_whole_slides_is_its_donors(export: Path) -> None:
    put(export, "D1/S1.svs")
    link(export, "D2", "/not_mounted/D2")
    link(export, "D1/S2.svs", "/not_mounted/S2.svs")
    slides, _ = found(export, layout=DONORS, kind="wsi")
    assert [(slide.donor, slide.name) for slide in slides.values()] == [("D1", "S1"), ("D1", "S2"), ("D2", "D2")]
    assert [slide.refused is None for slide in slides.values()] == [True, True, False]


def test_an_export_of_lost_links_alone_has_failed_slides(export: Path) -> None:
    link(export, "S1", "/not_mounted/S1")
    slides, _ = found(export)
    assert code(slides["S1"]) == "folder-link-lost"


def test_other_links_that_lead_nowhere_are_skipped_and_said(export: Path) -> None:
    put(export, "D1/S1/0.png")
    link(export, "D1/S1/notes.txt", "/not_mounted/notes.txt")
    link(export, "D1/S1/notes", "/not_mounted/notes.txt")
    link(export, "D1/S1/.hidden", "/not_mounted/hidden")
    link(export, "D1/S1/deeper", "/not_mounted/deeper")
    slides, skipped = found(export, layout="{donor}/{slide}/{cell}.png")
    assert list(slides) == ["D1/S1"]
    assert skipped.pop("D1/S1/.hidden") == "hidden"
    assert skipped == dict.fromkeys(("D1/S1/notes.txt", "D1/S1/notes", "D1/S1/deeper"), NOWHERE)


@pytest.mark.parametrize("name", ["cell.czi", "cell.zip", "cell"])
def test_a_lost_link_to_what_is_not_read_fails_its_slide(export: Path, name: str) -> None:
    link(export, f"S1/{name}", "/not_mounted/cell.tif" if name == "cell" else f"/not_mounted/{name}")
    (slide,) = found(export)[0].values()
    assert slide.refused is not None


def test_a_lost_folder_within_a_slide_fails_that_slide(export: Path) -> None:
    put(export, "S1/a/0.jpg")
    put(export, "S2/a/0.jpg", seed=1)
    link(export, "S1/b", "/not_mounted/b")
    slides, _ = found(export, layout="{slide}/**/{cell}.jpg")
    assert list(slides) == ["S1", "S2"]
    assert code(slides["S1"]) == "folder-link-lost"
    assert slides["S2"].refused is None


def test_a_folder_image_with_a_lost_part_is_there(export: Path) -> None:
    put(export, "S1/0.zarr/.zattrs", b"{}")
    link(export, "S1/0.zarr/0", "/not_mounted/0")
    (slide,) = found(export, kind="fields")[0].values()
    assert [file.path for file in slide.files or slide.unfinished] == ["S1/0.zarr"]


def test_a_lost_link_with_the_name_of_a_copy_in_progress_fails_its_slide(export: Path) -> None:
    put(export, "S1/0.png")
    link(export, "S1/1.png.part", "/not_mounted/1.png.part")
    slides, _ = found(export)
    assert code(slides["S1"]) == "unfinished-copy"


def test_a_share_that_goes_away_during_the_walk_is_said(export: Path, tmp_path: Path) -> None:
    put(tmp_path, "share/S1/0.png")
    put(tmp_path, "share/S2/0.png", seed=1)
    link(export, "D1", tmp_path / "share")
    slides = find_slides(export, layout=DONORS)
    assert next(slides).path == "D1/S1"
    (tmp_path / "share").rename(tmp_path / "away")
    (lost,) = slides
    assert (lost.path, lost.refused is not None) == ("D1/S2", True)


def test_lost_links_are_settled(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "arrived", lambda root, path, written, now: written)
    old = time.time() - 3600
    os.utime(put(export, "S1/0.png"), (old, old))
    link(export, "S1/1.png", "/not_mounted/1.png")
    link(export, "S1/2.png", "2.png")
    link(export, "S2", "/not_mounted/S2")
    slides, _ = found(export, settle_seconds=0.01)
    assert [slide.settled for slide in slides.values()] == [True, True]


@pytest.mark.parametrize("pattern", ["{donor}/{slide}/{cell}.tif", "lab/{donor}/s{slide}/x/{cell}.tif"])
def test_where_folders_of_a_pattern_may_be(pattern: str) -> None:
    layout = parse_layout(pattern)
    parts = ["D1", "S1"] if pattern.startswith("{") else ["lab", "D1", "s1", "x"]
    assert all(layout.may_lie_in("/".join(parts[:depth])) for depth in range(1, len(parts) + 1))
    assert not layout.may_lie_in("/".join([*parts, "deeper"]))
    assert layout.may_lie_in("other") == pattern.startswith("{")
    assert parse_layout(DONORS).may_lie_in("a/b/c/d/e")
    assert not parse_layout("a/**/{slide}.tif").may_lie_in("b/c")


# What leads round in a circle.


def test_a_link_to_itself_costs_nothing_else(export: Path) -> None:
    put(export, "D1/S1/0.png")
    link(export, "D1/S1/bad.png", "bad.png")
    link(export, "D1/S1/bad.txt", "bad.txt")
    link(export, "D1/loop", "loop")
    put(export, "D2/S1/0.png", seed=1)
    slides, skipped = found(export, layout=DONORS)
    assert list(slides) == ["D1/loop", "D1/S1", "D2/S1"]
    assert code(slides["D1/loop"]) == "folder-link-lost"
    assert [file.path for file in slides["D1/S1"].files] == ["D1/S1/0.png", "D1/S1/bad.png"]
    assert skipped["D1/S1/bad.txt"] == NOWHERE


@pytest.mark.parametrize("kind", ["crops", "fields", "wsi"])
def test_links_to_themselves_end_no_walk_of_any_kind(export: Path, kind: str) -> None:
    for name in ("0.svs", "0.dcm", "1.dcm", "0.png"):
        put(export, f"D1/S1/{name}")
    for name in ("a.png", "a.svs", "2.dcm", "a.zip", "a.part", "a.tif.part", "thumbs", "masks", "a"):
        link(export, f"D1/S1/{name}", name)
    slides, _ = found(export, layout=DONORS, kind=kind)
    assert slides


def test_an_entry_that_cannot_be_examined_costs_nothing_else(export: Path, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    put(tmp_path, "closed/0.png")
    put(export, "S1/0.png")
    link(export, "S1/1.png", closed / "0.png")
    link(export, "S2", closed / "deeper")
    closed.chmod(0)
    try:
        if os.access(closed / "0.png", os.R_OK):
            pytest.skip("this user may read everything")
        slides, _ = found(export)
    finally:
        closed.chmod(0o700)
    assert [len(slide.files) for slide in slides.values()] == [2, 1]
    assert code(slides["S2"]) == "folder-unreadable"


def test_a_fault_of_one_entry_is_one_unreadable_file(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(export, "S1/0.png")
    link(export, "S1/1.png", export / "S1/0.png")
    real = os.scandir

    class Faulty:
        def __init__(self, entry: os.DirEntry[str]) -> None:
            self.name, self.path, self._entry = entry.name, entry.path, entry

        def is_dir(self) -> bool:
            if self.name == "1.png":
                raise OSError(errno.EIO, "Input/output error")
            return self._entry.is_dir()

        def __getattr__(self, name: str) -> object:
            return getattr(self._entry, name)

    class Listed:
        def __init__(self, path: str) -> None:
            self._entries = real(path)

        def __enter__(self) -> list[Faulty]:
            return [Faulty(entry) for entry in self._entries]

        def __exit__(self, *_: object) -> None:
            self._entries.close()

    monkeypatch.setattr("mnbatch.imaging.walk.os.scandir", Listed)
    slides, _ = found(export)
    assert [file.path for file in slides["S1"].files] == ["S1/0.png", "S1/1.png"]


# What is under two donors by a link.


@pytest.mark.parametrize("first", [True, False])
def test_a_slide_under_two_donors_is_found_in_both(export: Path, first: bool) -> None:
    real, other = ("D1/S1", "D2/S1") if first else ("D2/S1", "D1/S1")
    put(export, f"{real}/0.png")
    put(export, f"{real}/1.png", seed=1)
    link(export, other, export / real)
    slides, _ = found(export, layout=DONORS)
    assert list(slides) == ["D1/S1", "D2/S1"]
    assert slides["D2/S1"].copy_of == slides["D1/S1"].slide_id
    assert [slide.donor for slide in slides.values()] == ["D1", "D2"]


def test_donors_linked_to_one_folder_of_the_disk_are_found_both(export: Path, tmp_path: Path) -> None:
    put(tmp_path, "disk/x/S1/0.png")
    put(tmp_path, "disk/y/0.png", seed=1)
    link(tmp_path / "disk", "x/S2", "../y")
    for donor in ("P1", "P2", "P3"):
        link(export, donor, tmp_path / "disk/x")
    slides, _ = found(export, layout=DONORS)
    assert list(slides) == [f"P{donor}/S{slide}" for donor in (1, 2, 3) for slide in (1, 2)]
    originals = {slides[f"P1/S{slide}"].slide_id for slide in (1, 2)}
    assert {slide.copy_of for path, slide in slides.items() if not path.startswith("P1")} == originals


def test_linked_slides_with_a_file_that_cannot_be_read_are_the_same(export: Path) -> None:
    put(export, "D1/S1/0.png")
    link(export, "D1/S1/1.png", "/not_mounted/1.png")
    link(export, "D2/S1", "../D1/S1")
    slides, _ = found(export, layout=DONORS)
    assert slides["D2/S1"].copy_of == slides["D1/S1"].slide_id


def test_a_slide_of_links_to_the_cells_of_another_donor_is_found(export: Path) -> None:
    for number in range(3):
        put(export, f"D1/S1/{number}.png", seed=number)
        link(export, f"D2/S1/{number}.png", export / f"D1/S1/{number}.png")
        link(export, f"D2/S1/again_{number}.png", export / f"D1/S1/{number}.png")
    slides, skipped = found(export, layout=DONORS)
    assert slides["D2/S1"].copy_of == slides["D1/S1"].slide_id
    assert set(skipped.values()) >= {"link to a file that was taken before"}


@pytest.mark.parametrize("layout", [DONORS, "folder-per-slide"])
def test_links_within_one_donor_or_without_donors_are_counted_once(export: Path, layout: str) -> None:
    put(export, "batch/D1/S1/0.png")
    link(export, "batch/D1/S2", "S1")
    link(export, "latest", "batch")
    link(export, "batch/D1/S1/1.png", "0.png")
    if layout != DONORS:
        link(export, "batch/D2", "D1")
    slides, _ = found(export, layout=layout)
    (slide,) = slides.values()
    assert len(slide.files) == 1


def test_loops_of_folders_are_skipped_under_donors_too(export: Path) -> None:
    put(export, "D1/S1/0.png")
    put(export, "D2/S1/0.png", seed=1)
    link(export, "D1/S1/up", "..")
    link(export, "D1/S1/self", ".")
    link(export, "D1/root", export)
    slides, skipped = found(export, layout=DONORS)
    assert list(slides) == ["D1/S1", "D2/S1"]
    assert {skipped[path] for path in ("D1/S1/up", "D1/S1/self", "D1/root")} == {LOOP}


def test_donors_linked_into_each_other_end(export: Path) -> None:
    for number in range(4):
        put(export, f"D{number}/S/0.png", seed=number)
        for other in range(4):
            if other != number:
                link(export, f"D{number}/S/to{other}", export / f"D{other}")
    slides, _ = found(export, layout=DONORS)
    assert len(slides) < 100
    originals = {slide.copy_of for slide in slides.values()}
    assert all(slides[f"D{n}/S"].copy_of or slides[f"D{n}/S"].slide_id in originals for n in range(4))
