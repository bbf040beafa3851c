from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from mnbatch.assay.cells import Skipped, Slide
from mnbatch.errors import NoInputError, StorageError, UsageError
from mnbatch.imaging import settling, walk
from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.walk import natural_key
from tests.imaging.imaging_helpers import put


def found(root: Path, **options: object) -> tuple[list[Slide], dict[str, str]]:
    skipped: list[Skipped] = []
    slides = list(find_slides(root, explain=skipped.append, **options))  # type: ignore[arg-type]
    return slides, {item.path: item.reason for item in skipped}


def paths(slide: Slide) -> list[str]:
    return [file.path for file in slide.files]


def test_each_folder_with_images_is_a_slide_in_natural_order(export: Path) -> None:
    for seed, path in enumerate(["b/2.png", "b/10.png", "b/1.png", "a10/x.png", "a2/x.png", "a2/deep/x.png"]):
        put(export, path, seed=seed)
    slides, _ = found(export)
    assert [slide.path for slide in slides] == ["a2", "a2/deep", "a10", "b"]
    assert paths(slides[-1]) == ["b/1.png", "b/2.png", "b/10.png"]
    assert {slide.donor for slide in slides} == {None}


def test_images_in_the_export_itself_are_a_slide_named_after_it(export: Path) -> None:
    put(export, "1.png")
    (slide,), _ = found(export)
    assert (slide.name, slide.path, slide.files[0].path) == ("export", ".", "1.png")


def test_donor_layout_takes_the_parent_folder(export: Path) -> None:
    put(export, "D1/S1/1.png")
    put(export, "lost.png", seed=1)
    (slide,), skipped = found(export, layout="donor-slide-folders")
    assert (slide.donor, slide.name) == ("D1", "S1")
    assert "does not fit the layout" in skipped["lost.png"]


def test_flat_files_are_grouped_by_donor_and_slide(export: Path) -> None:
    for seed, name in enumerate(["D1_A_1", "D1_A_2", "D2_A_1", "D1_B_1"]):
        put(export, f"{name}.png", seed=seed)
    slides, _ = found(export, layout="flat-files")
    assert [(slide.donor, slide.name, len(slide.files)) for slide in slides] == [
        ("D1", "A", 2),
        ("D1", "B", 1),
        ("D2", "A", 1),
    ]


def test_a_slide_may_spread_over_subfolders(export: Path) -> None:
    for seed, path in enumerate(["s1/x/1.png", "s1/y/1.png", "s2/x/1.png"]):
        put(export, path, seed=seed)
    slides, _ = found(export, layout="{slide}/**/{cell}.png")
    assert [(slide.name, len(slide.files)) for slide in slides] == [("s1", 2), ("s2", 1)]


def test_each_tiff_is_a_slide_of_a_gallery_export(export: Path) -> None:
    put(export, "d/g1.tif", b"x" * 10)
    put(export, "d/g2.tif", b"y" * 11)
    slides, _ = found(export, layout="tiff-galleries")
    assert [slide.name for slide in slides] == ["g1", "g2"]


def test_a_preview_beside_its_original_is_taken_once_and_said(export: Path) -> None:
    for seed, name in enumerate(["a.jpg", "a.png", "a.tif", "b.jpeg", "b.bmp", "c.jpg"]):
        put(export, f"s/{name}", seed=seed)
    (slide,), skipped = found(export)
    assert paths(slide) == ["s/a.tif", "s/b.bmp", "s/c.jpg"]
    assert "next to a.tif" in skipped["s/a.png"]
    assert {item.path for item in slide.skipped} == {"s/a.jpg", "s/a.png", "s/b.jpeg"}


def test_equal_stems_in_two_folders_are_two_cells(export: Path) -> None:
    put(export, "s1/a.png")
    put(export, "s2/a.tif", seed=1)
    assert len(found(export)[0]) == 2


def test_hidden_and_foreign_files_are_skipped_and_said(export: Path) -> None:
    put(export, "s/1.png")
    for name in ["Thumbs.db", ".DS_Store", "._1.png", "notes.txt", "png", "@eaDir/1.png", ".hidden/1.png"]:
        put(export, f"s/{name}", b"x")
    (slide,), skipped = found(export)
    assert paths(slide) == ["s/1.png"]
    assert set(skipped) == {
        f"s/{name}" for name in ["Thumbs.db", ".DS_Store", "._1.png", "notes.txt", "png", "@eaDir", ".hidden"]
    }
    assert all(skipped.values())


def test_hostile_names_are_taken_as_they_are(export: Path) -> None:
    names = ["<img src=x onerror=alert(1)>", "=cmd", "Zelle 一 ü", "a\nb", "x" * 200, "-rf", "a:b*?"]
    try:
        for seed, name in enumerate(names):
            put(export, f"{name}/{name}.png", seed=seed)
    except OSError:
        pytest.skip("this file system does not take such names")
    slides, _ = found(export)
    assert {slide.name for slide in slides} == set(names)
    assert len({slide.slide_id for slide in slides}) == len(names)


def test_a_name_that_is_no_unicode_is_taken(export: Path) -> None:
    folder = os.fsencode(export) + b"/s\xff"
    try:
        os.mkdir(folder)
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    (Path(os.fsdecode(folder)) / "1.png").write_bytes(b"x")
    (slide,), _ = found(export)
    assert slide.name == "s\udcff"
    assert slide.slide_id.isascii()


def test_links_that_lead_round_in_a_circle_end(export: Path) -> None:
    put(export, "s/1.png")
    (export / "s/loop").symlink_to(export)
    (export / "s/self").symlink_to(export / "s")
    (export / "up").symlink_to(export.parent)
    (export / "broken").symlink_to(export / "nowhere")
    slides, skipped = found(export)
    assert [(slide.path, slide.refused is None) for slide in slides] == [("broken", False), ("s", True)]
    assert {"s/loop", "s/self", "up", "broken"} <= set(skipped)


def test_files_reached_by_a_link_as_well_are_taken_once(export: Path) -> None:
    put(export, "z/1.png")
    put(export, "a/2.png", seed=2)
    (export / "a/1.png").symlink_to(export / "z/1.png")
    (export / "b").symlink_to(export / "z")
    slides, skipped = found(export)
    assert [paths(slide) for slide in slides] == [["a/2.png"], ["z/1.png"]]
    assert "taken there" in skipped["a/1.png"]
    assert "taken there" in skipped["b"]


def test_links_to_places_outside_are_followed_once(export: Path, tmp_path: Path) -> None:
    put(tmp_path, "archive/s/1.png")
    put(tmp_path, "archive/one.png", seed=3)
    put(export, "real/9.png", seed=9)
    for name in ("a", "b"):
        (export / name).symlink_to(tmp_path / "archive/s")
        (export / f"real/{name}.png").symlink_to(tmp_path / "archive/one.png")
    slides, skipped = found(export)
    assert [paths(slide) for slide in slides] == [["a/1.png"], ["real/9.png", "real/a.png"]]
    assert {"b", "real/b.png"} <= set(skipped)


def test_a_slide_copied_under_other_names_points_to_the_first(export: Path) -> None:
    for seed in range(3):
        put(export, f"s1/{seed}.png", seed=seed)
        put(export, f"s2/{9 - seed}.png", seed=seed)
        put(export, f"s3/{seed}.png", seed=seed + (seed == 2))
    slides, skipped = found(export)
    assert [slide.copy_of for slide in slides] == [None, slides[0].slide_id, None]
    assert "copy of slide" in skipped["s2"]


def test_slides_of_equally_large_files_are_told_apart_by_content(export: Path) -> None:
    middle = {"s1": b"a", "s2": b"b", "s3": b"a"}
    for name, byte in middle.items():
        put(export, f"{name}/1.png", b"H" * 3000 + byte + b"T" * 3000)
    # Equal but for one byte that the probe does not see: only the whole content tells.
    put(export, "s4/1.png", b"h" + b"H" * 2999 + b"a" + b"T" * 3000)
    slides, _ = found(export)
    assert [slide.copy_of for slide in slides] == [None, None, slides[0].slide_id, None]


def test_empty_slides_are_nobodys_copies(export: Path) -> None:
    put(export, "s1/1.png", b"")
    put(export, "s2/1.png", b"")
    assert [slide.copy_of for slide in found(export)[0]] == [None, None]


@pytest.fixture
def by_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that entered files when they were written; a test cannot set that time."""
    monkeypatch.setattr(settling, "arrived", lambda root, path, written, now: written)


def test_a_copy_with_the_times_of_its_original_is_young(export: Path) -> None:
    old = time.time() - 3600
    os.utime(put(export, "copied/1.png"), (old, old))
    assert not found(export, settle_seconds=60)[0][0].settled


def test_a_slide_dated_in_the_future_is_taken_when_it_has_rested(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = time.time() + 1e6
    os.utime(put(export, "ahead/1.png"), (later, later))
    assert not found(export, settle_seconds=60)[0][0].settled
    now = time.time() + 3600
    monkeypatch.setattr(settling.time, "time", lambda: now)
    assert found(export, settle_seconds=60)[0][0].settled


def test_young_slides_are_left_for_the_next_run(export: Path, by_writing: None) -> None:
    old = time.time() - 3600
    os.utime(put(export, "old/1.png"), (old, old))
    put(export, "young/1.png", seed=1)
    os.utime(put(export, "young/2.png", seed=2), (old, old))
    slides, skipped = found(export, settle_seconds=60)
    assert {slide.name: slide.settled for slide in slides} == {"old": True, "young": False}
    assert "next run" in skipped["young"]


def test_a_slide_that_changes_between_two_looks_is_not_settled(
    export: Path, monkeypatch: pytest.MonkeyPatch, by_writing: None
) -> None:
    old = time.time() - 3600
    for name in ("grows", "gains", "rests"):
        os.utime(put(export, f"{name}/1.png", seed=len(name)), (old, old))

    def scanner_writes(_: float) -> None:
        with (export / "grows/1.png").open("ab") as stream:
            stream.write(b"more")
        os.utime(export / "grows/1.png", (old, old))
        put(export, "gains/2.png")

    monkeypatch.setattr(settling.time, "sleep", scanner_writes)
    slides, _ = found(export, settle_seconds=60)
    assert {slide.name: slide.settled for slide in slides} == {"grows": False, "gains": False, "rests": True}


def test_without_settle_a_young_slide_is_taken(export: Path) -> None:
    put(export, "young/1.png")
    assert found(export)[0][0].settled


def test_an_unknown_layout_is_refused_before_anything_is_walked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Unknown layout"):
        find_slides(tmp_path / "absent", layout="folders")


def test_an_absent_export_is_no_input(tmp_path: Path) -> None:
    with pytest.raises(NoInputError, match="does not exist"):
        find_slides(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(NoInputError, match="not a folder"):
        find_slides(tmp_path / "file")


def test_an_export_without_a_slide_is_no_input_and_says_what_did_not_fit(export: Path) -> None:
    put(export, "1.png")
    with pytest.raises(NoInputError, match="1 image files do not fit"):
        list(find_slides(export, layout="donor-slide-folders"))


def test_a_folder_that_cannot_be_read_is_said(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(export, "closed/1.png")
    put(export, "open/1.png", seed=1)
    real = os.scandir

    def guarded(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(walk.os, "scandir", guarded)
    slides, skipped = found(export)
    assert [(slide.name, slide.refused is None) for slide in slides] == [("closed", False), ("open", True)]
    assert "Permission denied" in skipped["closed"]


def test_an_unreadable_export_is_a_storage_error(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> object:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(walk.os, "scandir", refuse)
    with pytest.raises(StorageError, match="Permission denied"):
        list(find_slides(export))


def test_a_folder_that_vanishes_during_the_walk_is_said(export: Path) -> None:
    for seed, name in enumerate(["a", "b", "c"]):
        put(export, f"{name}/1.png", seed=seed)
    skipped: list[Skipped] = []
    slides = find_slides(export, explain=skipped.append)
    assert next(slides).name == "a"
    shutil.rmtree(export / "b")
    assert [slide.name for slide in slides] == ["c"]
    assert [item.path for item in skipped] == ["b"]


def test_natural_order_ignores_case_and_never_fails() -> None:
    names = ["Cell10", "cell2", "cell02", "٣", "a" * 250, "9" * 250, "", "cell2b"]
    ordered = sorted(names, key=natural_key)
    assert ordered.index("cell2") < ordered.index("cell2b") < ordered.index("Cell10")


def test_two_walks_give_the_same_slides(export: Path) -> None:
    for seed in range(20):
        put(export, f"s{seed % 4}/{seed}.png", seed=seed)
    assert found(export)[0] == found(export)[0]


@pytest.mark.parametrize("name", ["x.tif ", "x.tif\t", "x.t\u0131f", "x.tif_"])
@pytest.mark.parametrize("alone", [False, True])
def test_an_image_whose_extension_is_misspelled_fails_its_slide(export: Path, name: str, alone: bool) -> None:
    put(export, "s/1.tif")
    (export / "s" / name).write_bytes((export / "s/1.tif").read_bytes())
    if alone:
        (export / "s/1.tif").unlink()
    [slide] = find_slides(export)
    assert slide.refused is not None
    assert slide.path == "s"


def test_a_folder_without_a_place_fails_where_other_images_have_one(export: Path) -> None:
    put(export, "D1/a/1.png")
    put(export, "D5/1.png", seed=1)
    put(export, "D5/2.png", seed=2)
    slides, skipped = found(export, layout="donor-slide-folders")
    taken, failed = slides
    assert (taken.path, taken.refused) == ("D1/a", None)
    assert failed.path == "D5"
    assert paths(failed) == ["D5/1.png", "D5/2.png"]
    assert failed.refused is not None
    assert skipped == {}


def test_where_no_image_has_a_place_the_layout_is_at_fault(export: Path) -> None:
    put(export, "D1/1.png")
    put(export, "D5/1.png", seed=1)
    skipped: list[Skipped] = []
    with pytest.raises(NoInputError, match="2 image files do not fit"):
        list(find_slides(export, layout="donor-slide-folders", explain=skipped.append))
    assert sorted(item.path for item in skipped) == ["D1/1.png", "D5/1.png"]


def test_an_empty_folder_at_the_place_of_a_slide_is_said(export: Path) -> None:
    put(export, "D1/a/1.png")
    (export / "D1/b").mkdir()
    (export / "D1/c").mkdir()
    (export / "D1/c/Thumbs.db").write_bytes(b"")
    (export / "empty").mkdir()
    slides, skipped = found(export, layout="donor-slide-folders")
    assert [slide.path for slide in slides] == ["D1/a"]
    assert skipped.pop("D1/c/Thumbs.db")
    assert skipped == dict.fromkeys(("D1/b", "D1/c"), walk.EMPTY)
