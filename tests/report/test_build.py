import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mnbatch.report.build import ReportOptions, build_reports
from mnbatch.report.slide_reports import donor_folder
from mnbatch.results.store import Store

OPTIONS = ReportOptions(gallery=3, min_cells=50)

ReadCsv = Callable[[Path], list[dict[str, str]]]
Make = Callable[..., Any]


def derived(store: Store) -> dict[str, bytes]:
    names = {"index.html", "cells.csv", "summary.json", "slides.csv", "donors.csv", "donors.xlsx"}
    root = store.paths.root
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.name in names}


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def by(rows: list[dict[str, str]], key: str) -> dict[str, dict[str, str]]:
    return {row[key]: row for row in rows}


def test_slides_table_has_counts_failures_and_reasons(batch: Store, read_csv: ReadCsv) -> None:
    made = build_reports(batch, OPTIONS)
    rows = by(read_csv(batch.paths.slides_csv), "slide_id")
    assert list(rows) == ["a1", "a2", "b1", "b2", "b3"]
    assert (rows["a1"]["bn_cells"], rows["a1"]["mnbn_cells"], rows["a1"]["excluded_cells"]) == (
        "19",
        "1",
        "1",
    )
    assert (rows["a1"]["flagged_cells"], rows["a2"]["flagged_cells"]) == ("0", "10")
    assert rows["a2"]["threshold"] == "0.5"
    assert rows["b2"]["status"] == "failed"
    assert "2 of 3 cells" in rows["b2"]["reason"]
    assert (rows["b3"]["reason"], rows["b3"]["mnbn_cells"]) == ("no model serves its stain", "")
    assert [(s.slide_id, s.status) for s in made.slides][-2:] == [("b2", "failed"), ("b3", "failed")]


def test_donors_are_pooled_and_say_what_is_missing(batch: Store, read_csv: ReadCsv) -> None:
    build_reports(batch, OPTIONS)
    rows = by(read_csv(batch.paths.donors_csv), "donor")
    assert (rows["D1"]["bn_cells"], rows["D1"]["mnbn_cells"], rows["D1"]["status"]) == (
        "29",
        "2",
        "insufficient",
    )
    assert (rows["D2"]["status"], rows["D2"]["slides"], rows["D2"]["slides_failed"]) == ("partial", "3", "2")
    assert "partial" in text(next(batch.paths.donors.glob("D2-*")) / "index.html")


def test_cells_table_keeps_unreadable_cells_with_their_reason(batch: Store, read_csv: ReadCsv) -> None:
    build_reports(batch, OPTIONS)
    rows = read_csv(batch.paths.slide("a1").cells_csv)
    assert len(rows) == 20
    assert (rows[3]["p_mn"], rows[3]["mn"], rows[3]["reason"]) == ("", "", "the file is truncated")
    assert [row["mn"] for row in rows[:3]] == ["0", "1", "0"]


def test_copied_cells_count_once_and_say_where(store: Store, read_csv: ReadCsv, add_slide: Make) -> None:
    add_slide(store, "one", [0.9, 0.1, 0.1], first_digest=1)
    add_slide(store, "two", [0.9, 0.1, 0.1], first_digest=3)
    build_reports(store, OPTIONS)
    rows = read_csv(store.paths.slide("two").cells_csv)
    # Slides are ordered by path; "two" starts with the last cell of "one".
    assert (rows[0]["p_mn"], rows[0]["mn"]) == ("", "")
    assert rows[0]["reason"].startswith("copy of one:")
    assert by(read_csv(store.paths.slides_csv), "slide_id")["two"]["bn_cells"] == "2"


def test_a_copied_slide_is_listed_and_not_counted(batch: Store) -> None:
    build_reports(batch, OPTIONS)
    index = text(batch.paths.index)
    assert "Copies of slides, counted once" in index
    assert "z/c1" in index
    assert "also found as z/c1" in text(batch.paths.slide("b1").page)


def test_a_failed_slide_shows_reason_and_next_step_and_no_number(batch: Store) -> None:
    build_reports(batch, OPTIONS)
    for page in (batch.paths.index, batch.paths.slide("b3").page):
        assert "no model serves its stain" in text(page)
        assert "Give --stain, or train a model." in text(page)
    assert 'class="number"' not in text(batch.paths.slide("b3").page)
    assert not batch.paths.slide("b3").cells_csv.exists()
    assert text(batch.paths.index).index("2 slides failed") < text(batch.paths.index).index('id="donor-table"')


def test_the_same_store_gives_the_same_bytes(batch: Store, tmp_path: Path) -> None:
    build_reports(batch, OPTIONS)
    first = derived(batch)
    build_reports(batch, ReportOptions(gallery=3, min_cells=50, force=True))
    assert derived(batch) == first
    shutil.copytree(batch.paths.root, tmp_path / "moved")
    moved = Store(tmp_path / "moved")
    for path in first:
        (moved.paths.root / path).unlink()
    build_reports(moved, OPTIONS)
    assert derived(moved) == first


def test_nothing_is_made_again_when_nothing_changed(batch: Store) -> None:
    build_reports(batch, OPTIONS)
    times = {path: (batch.paths.root / path).stat().st_mtime_ns for path in derived(batch)}
    again = build_reports(batch, OPTIONS)
    assert (again.slides_built, again.donors_built, again.index_built) == (0, 0, False)
    assert {path: (batch.paths.root / path).stat().st_mtime_ns for path in derived(batch)} == times


def test_a_new_threshold_makes_just_that_slide_and_its_donor_again(
    batch: Store, read_csv: ReadCsv, call_stamp: Make
) -> None:
    build_reports(batch, OPTIONS)
    record = batch.record("b1")
    assert record is not None
    batch.put_record(record.model_copy(update={"call": call_stamp(0.25, key="other")}))
    made = build_reports(batch, OPTIONS)
    assert (made.slides_built, made.donors_built, made.index_built) == (1, 1, True)
    assert by(read_csv(batch.paths.slides_csv), "slide_id")["b1"]["mnbn_cells"] == "2"


@pytest.mark.parametrize("damage", ["delete", "edit"])
def test_a_deleted_or_edited_file_is_made_again(batch: Store, damage: str) -> None:
    build_reports(batch, OPTIONS)
    before = derived(batch)
    for path in (batch.paths.slide("a1").cells_csv, batch.paths.slides_csv):
        path.unlink() if damage == "delete" else path.write_bytes(path.read_bytes() + b"x")
    assert build_reports(batch, OPTIONS).slides_built == 1
    assert derived(batch) == before


def test_min_cells_changes_donors_and_no_slide(batch: Store, read_csv: ReadCsv) -> None:
    build_reports(batch, OPTIONS)
    made = build_reports(batch, ReportOptions(gallery=3, min_cells=5))
    assert (made.slides_built, made.donors_built) == (0, 2)
    assert by(read_csv(batch.paths.donors_csv), "donor")["D1"]["status"] == "done"


def test_the_sample_sheet_moves_a_slide_to_its_donor_and_adds_columns(batch: Store, read_csv: ReadCsv) -> None:
    build_reports(batch, OPTIONS)
    samples = {name: {"donor": "D9", "dose_gy": "2.0", "note": "n"} for name in ("a1", "a2")}
    build_reports(batch, OPTIONS, samples)
    row = by(read_csv(batch.paths.slides_csv), "slide_id")["a1"]
    assert (row["donor"], row["dose_gy"]) == ("D9", "2")
    assert [p.name[:3] for p in sorted(batch.paths.donors.iterdir())] == ["D2-", "D9-"]


def test_without_donors_nothing_is_pooled(store: Store, read_csv: ReadCsv, add_slide: Make) -> None:
    add_slide(store, "a", [0.1, 0.9], donor=None)
    assert build_reports(store, OPTIONS).donors == 0
    assert read_csv(store.paths.donors_csv) == []
    assert 'id="donor-table"' not in text(store.paths.index)


def test_an_empty_store_gives_an_index_that_says_so(store: Store) -> None:
    store.paths.root.mkdir()
    build_reports(store, OPTIONS)
    assert "There is no result yet" in text(store.paths.index)


def test_no_micronucleus_is_a_zero_with_its_interval(store: Store, read_csv: ReadCsv, add_slide: Make) -> None:
    add_slide(store, "a", [0.1] * 30)
    build_reports(store, OPTIONS)
    row = read_csv(store.paths.slides_csv)[0]
    assert (row["mnbn_cells"], float(row["mnbn_per_1000"]), float(row["ci_low"])) == ("0", 0.0, 0.0)
    assert float(row["ci_high"]) > 100
    assert "No cell was called MN." in text(store.paths.slide("a").page)


def test_damaged_scores_fail_one_slide_and_not_the_report(batch: Store) -> None:
    (batch.paths.slide("a2").generation("g1").scores).unlink()
    made = build_reports(batch, OPTIONS)
    assert [s.status for s in made.slides[:3]] == ["done", "failed", "done"]
    assert "restore OUT from a copy" in text(batch.paths.slide("a2").page)


def test_hostile_names_are_text_everywhere(store: Store, add_slide: Make, add_failed: Make, hostile: str) -> None:
    add_slide(store, "h-1", [0.9, None], name=hostile, path=hostile, donor=hostile, warnings=(hostile,))
    add_failed(store, "h-2", hostile, hostile, name=hostile, path="y", donor=hostile)
    build_reports(store, OPTIONS)
    pages = list(store.paths.root.rglob("index.html"))
    assert len(pages) == 4
    for page in pages:
        assert "<script>alert" not in text(page)
        assert "&lt;script&gt;alert" in text(page)
    assert "\n=cmd" not in text(store.paths.slides_csv)
    assert ",=cmd" not in text(store.paths.slides_csv).replace('"', "")


def test_names_that_are_no_valid_utf8_do_not_stop_the_report(store: Store, add_failed: Make) -> None:
    add_failed(store, "u-1", "r", name="caf\\udce9", path="caf\\udce9")
    build_reports(store, OPTIONS)
    assert "caf" in text(store.paths.index)


def test_pages_of_a_pseudonymised_batch_hold_no_path(store: Store, add_slide: Make) -> None:
    left = {"path": "Jane Doe/Thumbs.db", "reason": "hidden"}
    add_slide(store, "slide-12ab", [0.9], pseudonymised=True, path="Jane Doe/s1", name="slide-12ab", skipped=(left,))
    build_reports(store, OPTIONS)
    for page in store.paths.root.rglob("*.html"):
        assert "Jane" not in text(page)


def test_pages_are_self_contained(batch: Store) -> None:
    build_reports(batch, OPTIONS)
    for page in batch.paths.root.rglob("*.html"):
        body = re.sub(r"<style>.*?</style>|<script>.*?</script>", "", text(page), flags=re.S)
        assert "default-src 'none'" in body
        assert not re.findall(r'(?:src|href)="(?:https?:|//|/)', body)
        for target in re.findall(r'href="([^"#][^"]*)"', body):
            if not target.startswith("data:"):
                assert (page.parent / target.split("#")[0]).resolve().is_file(), target


def test_pages_say_what_made_them_and_what_they_are_not_for(batch: Store) -> None:
    build_reports(batch, OPTIONS)
    page = text(batch.paths.slide("a1").page)
    for part in ("ab" * 32, "attention-alexnet", "p ≥ 0.5", "minibatches of 64", "torch 2.11", "21:05"):
        assert part in page
    assert "Not validated for clinical or diagnostic use" in page


def test_the_same_slide_under_two_donors_fails_instead_of_counting_for_one(batch: Store) -> None:
    record = batch.record("c1")
    assert record is not None
    batch.put_record(record.model_copy(update={"donor": "D1"}))
    made = build_reports(batch, OPTIONS)
    assert {slide.slide_id: slide.status for slide in made.slides}["c1"] == "failed"
    assert "so they cannot be donor D1&#39;s as well" in text(batch.paths.index)


def test_donor_folders_are_safe_and_never_shared() -> None:
    codes = ["D 1", "D-1", "d-1", "../..", "CON", "Ö", "Ø", "中", "x" * 300, "a\udce9"]
    folders = [donor_folder(code) for code in codes]
    assert len({folder.lower() for folder in folders}) == len(codes)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,60}", folder) for folder in folders)
