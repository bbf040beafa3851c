"""Reports where nothing changed: nothing is read, and whatever did change is seen."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mnbatch.report import unchanged
from mnbatch.report.build import ReportOptions, build_reports
from mnbatch.report.unchanged import bring_up_to_date
from mnbatch.results.store import Store

OPTIONS = ReportOptions(gallery=0, min_cells=5)
Make = Callable[..., Any]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One entry for each time that reports were really made."""
    calls: list[object] = []

    def build(*arguments: Any) -> Any:
        calls.append(arguments)
        return build_reports(*arguments)

    monkeypatch.setattr(unchanged, "build_reports", build)
    return calls


def test_where_nothing_changed_it_says_the_same_and_reads_no_slide(batch: Store, counted: list[object]) -> None:
    first = bring_up_to_date(batch, OPTIONS, {})
    again = bring_up_to_date(Store(batch.paths.root), OPTIONS, {})
    assert len(counted) == 1
    assert (again.slides, again.copies, again.donors) == (first.slides, first.copies, first.donors)
    assert (again.slides_built, again.donors_built, again.index_built) == (0, 0, False)


@pytest.mark.parametrize(
    "path",
    [
        "slides/a1/record.json",
        "slides/a1/g1/scores.csv",
        "slides/a1/g1/digests.bin",
        "slides/a1/cells.csv",
        "slides/a1/index.html",
        "slides.csv",
        "donors.csv",
        "index.html",
        "report.json",
    ],
)
def test_a_file_of_the_same_size_and_time_is_seen_to_be_another(batch: Store, counted: list[object], path: str) -> None:
    bring_up_to_date(batch, OPTIONS, {})
    file: Path = batch.paths.root / path
    before, data = file.stat(), bytearray(file.read_bytes())
    data[-2] ^= 1
    with file.open("r+b") as opened:
        opened.write(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    bring_up_to_date(batch, OPTIONS, {})
    assert len(counted) == 2


def test_options_samples_and_new_files_are_seen(batch: Store, counted: list[object], add_slide: Make) -> None:
    bring_up_to_date(batch, OPTIONS, {})
    bring_up_to_date(batch, ReportOptions(gallery=0, min_cells=6), {})
    bring_up_to_date(batch, OPTIONS, {"a1": {"donor": "D7"}})
    add_slide(batch, "new", [0.1], first_digest=900)
    made = bring_up_to_date(batch, OPTIONS, {})
    assert len(counted) == 4
    assert "new" in {slide.slide_id for slide in made.slides}
    batch.paths.annotations.mkdir()
    (batch.paths.annotations / "samples.csv").write_text("")
    bring_up_to_date(batch, OPTIONS, {})
    bring_up_to_date(batch, ReportOptions(gallery=0, min_cells=5, force=True), {})
    assert len(counted) == 6


def test_a_damaged_slide_is_looked_at_each_time(batch: Store, counted: list[object]) -> None:
    (batch.paths.slide("a2").generation("g1").scores).unlink()
    for _ in range(2):
        made = bring_up_to_date(batch, OPTIONS, {})
        assert "failed" in {slide.status for slide in made.slides if slide.slide_id == "a2"}
    assert len(counted) == 2


def test_a_review_that_was_saved_while_reports_were_made_is_not_missed(
    batch: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def build(*arguments: Any) -> Any:
        made = build_reports(*arguments)
        calls.append(made)
        batch.paths.reviews.mkdir(parents=True, exist_ok=True)
        batch.paths.review_trail("a1").write_text("{}\n" * len(calls))
        return made

    monkeypatch.setattr(unchanged, "build_reports", build)
    bring_up_to_date(batch, OPTIONS, {})
    bring_up_to_date(batch, OPTIONS, {})
    assert len(calls) == 2


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links here")
def test_a_link_in_out_could_hide_a_change(batch: Store, counted: list[object]) -> None:
    root = batch.paths.slide("a1").root
    root.rename(batch.paths.root / "elsewhere")
    root.symlink_to(batch.paths.root / "elsewhere")
    bring_up_to_date(batch, OPTIONS, {})
    bring_up_to_date(batch, OPTIONS, {})
    assert len(counted) == 2


def test_a_state_that_cannot_be_kept_fails_no_report(batch: Store, counted: list[object]) -> None:
    batch.paths.runs.write_text("no folder")
    for _ in range(2):
        assert bring_up_to_date(batch, OPTIONS, {}).slides
    assert len(counted) == 2


def test_a_state_that_was_edited_is_not_believed(batch: Store, counted: list[object]) -> None:
    bring_up_to_date(batch, OPTIONS, {})
    state = batch.paths.report_state
    state.write_text(state.read_text().replace('"failed"', '"done"'))
    assert "failed" in {slide.status for slide in bring_up_to_date(batch, OPTIONS, {}).slides}
    assert len(counted) == 2
