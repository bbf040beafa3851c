"""Rows of the batch's tables and page are kept from report to report: made again only where something changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mnbatch.report.build import ReportOptions
from mnbatch.report.kept_rows import KeptRows, read_rows
from mnbatch.report.unchanged import bring_up_to_date
from mnbatch.results.store import Store
from tests.report.conftest import add_slide

OPTIONS = ReportOptions(gallery=0, min_cells=5)
KINDS = ("slides.csv", "donors.csv", "donors.xlsx", "batch_slide_row", "donor_row")
Made = list[tuple[object, ...]]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    """What each row that was made shows."""
    found: Made = []
    row = KeptRows.row

    def counting(self: KeptRows, shows: tuple[object, ...], make: Callable[[], str]) -> str:
        def counted() -> str:
            found.append(shows)
            return make()

        return row(self, shows, counted)

    monkeypatch.setattr(KeptRows, "row", counting)
    return found


def report(store: Store, options: ReportOptions = OPTIONS) -> None:
    bring_up_to_date(Store(store.paths.root), options, {})


def test_only_rows_of_what_changed_are_made_again(batch: Store, made: Made) -> None:
    report(batch)
    assert [sum(shows[0] == kind for shows in made) for kind in KINDS] == [5, 2, 2, 5, 2]
    made.clear()
    add_slide(batch, "b1", [0.2, 0.1, 0.3], first_digest=200, donor="D2")
    report(batch)
    # The page's scale of intervals is another one, so its rows are too.
    assert [sum(shows[0] == kind for shows in made) for kind in KINDS[:3]] == [1, 1, 1]


def test_a_report_that_is_to_read_all_makes_all_rows(batch: Store, made: Made) -> None:
    report(batch)
    made.clear()
    report(batch, ReportOptions(gallery=0, min_cells=5, force=True))
    assert sum(shows[0] == "slides.csv" for shows in made) == 5


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-3],
        lambda data: data.replace(b"done", b"gone", 1),
        lambda data: data[data.index(b"\n") + 1 :],
        lambda data: b"[1]\n" + data,
        lambda _: b"",
        lambda _: b"\xff\n\xff\n",
    ],
)
def test_a_file_that_is_not_what_was_written_is_not_believed(
    batch: Store, made: Made, damage: Callable[[bytes], bytes]
) -> None:
    report(batch)
    kept: Path = batch.paths.report_rows
    rows = read_rows(batch.paths).before
    assert len(rows) > 16
    data = kept.read_bytes()
    assert damage(data) != data
    kept.write_bytes(damage(data))
    assert read_rows(batch.paths).before == {}
    table = batch.paths.slides_csv.read_bytes()
    made.clear()
    add_slide(batch, "b2", [None, None, 0.9], first_digest=300, donor="D2")
    report(batch)
    assert sum(shows[0] == "slides.csv" for shows in made) == 5
    assert batch.paths.slides_csv.read_bytes() == table
    assert len(read_rows(batch.paths).before) == len(rows), "it is made again"
