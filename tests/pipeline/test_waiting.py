"""Slides that wait are in every table, with their age; none waits for ever without exit code 3."""

from __future__ import annotations

import csv
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mnbatch.app.out_status import out_status
from mnbatch.app.rebuild import open_store, rebuild
from mnbatch.imaging import settling
from mnbatch.pipeline import waiting
from mnbatch.pipeline.run import run
from mnbatch.report.build import ReportOptions
from tests.in_process import mnbatch
from tests.pipeline.conftest import write_slide


class Nights:
    """A clock of the runs; files arrive at times that a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = datetime(2026, 3, 1, 2, tzinfo=UTC)
        self.arrived: dict[str, float] = {}
        monkeypatch.setattr(waiting, "clock", lambda: self.now)
        monkeypatch.setattr(settling, "arrived", lambda root, path, written, now: now - self.age(path))

    def age(self, path: str) -> float:
        return next((age for part, age in self.arrived.items() if part in path), 1e6)

    def pass_by(self, **time: float) -> None:
        self.now += timedelta(**time)


@pytest.fixture
def nights(monkeypatch: pytest.MonkeyPatch) -> Nights:
    return Nights(monkeypatch)


def table(out: Path, name: str) -> list[dict[str, str]]:
    with (out / name).open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_slide_that_waits_is_in_every_table_and_ages(settings, nights: Nights, tmp_path: Path) -> None:
    nights.arrived["D1/A"] = 5.0
    for night in range(4):
        outcome = run(settings(settle=60.0, geojson=False))
        assert len(outcome.waiting) == 1
        assert outcome.exit_code == (3 if night > 1 else 0)
        nights.pass_by(days=1)
    out = tmp_path / "out"
    row = next(row for row in table(out, "slides.csv") if row["status"] == "waiting")
    assert row["slide"] == "A"
    assert row["waiting_since"].startswith("2026-03-01T02:00")
    assert "for 3 days" in row["reason"]
    assert row["bn_cells"] == ""
    donor = next(row for row in table(out, "donors.csv") if row["donor"] == "D1")
    assert (donor["status"], donor["slides"], donor["slides_done"]) == ("partial", "2", "1")
    assert (donor["slides_failed"], donor["slides_waiting"]) == ("0", "1")
    assert "wait to be scored" in donor["reason"]
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "1 slide waiting to be scored" in page
    assert "for 3 days" in page
    (slide,) = out_status(out).waiting
    assert slide.overdue
    assert not slide.scored
    status = mnbatch("status", out)
    assert status.returncode == 3
    assert "1 waiting" in status.stdout
    assert f"waiting: {slide.slide_id}: waiting since 2026-03-01 02:00 UTC (for 3 days)" in status.stdout
    assert json.loads(mnbatch("status", out, "--json").stdout)["waiting"][0]["since"].startswith("2026-03-01")
    report = mnbatch("report", out)
    assert report.returncode == 0
    assert "3 done, 0 failed, 1 waiting" in report.stdout


def test_a_slide_that_has_rested_is_scored_and_leaves_no_trace(settings, nights: Nights, tmp_path: Path) -> None:
    nights.arrived["D1/A"] = 5.0
    run(settings(settle=60.0))
    nights.arrived.clear()
    outcome = run(settings(settle=60.0))
    assert (len(outcome.scored), outcome.waiting, outcome.exit_code) == (1, [], 0)
    assert {row["status"] for row in table(tmp_path / "out", "slides.csv")} == {"done"}
    assert {row["waiting_since"] for row in table(tmp_path / "out", "slides.csv")} == {""}
    assert out_status(tmp_path / "out").waiting == ()


def test_a_slide_dated_in_the_future_is_scored_when_two_runs_find_it_unchanged(
    settings, nights: Nights, export: Path, tmp_path: Path
) -> None:
    nights.arrived["D1/A"] = -1e6
    assert len(run(settings(settle=60.0)).waiting) == 1
    nights.pass_by(seconds=30)
    assert len(run(settings(settle=60.0)).waiting) == 1
    picture = export / "D1/A/cell_000.png"
    stat = picture.stat()
    content = bytearray(picture.read_bytes())
    content[-1] ^= 1
    # Same size and time, other content: it is still being written.
    picture.write_bytes(bytes(content))
    os.utime(picture, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    nights.pass_by(seconds=90)
    assert len(run(settings(settle=60.0)).waiting) == 1
    content[-1] ^= 1
    picture.write_bytes(bytes(content))
    os.utime(picture, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    nights.pass_by(seconds=90)
    assert len(run(settings(settle=60.0)).waiting) == 1
    nights.pass_by(seconds=90)
    outcome = run(settings(settle=60.0))
    assert (len(outcome.scored), outcome.waiting) == (1, [])


def test_newer_files_of_a_counted_slide_wait_and_its_number_says_so(
    settings, nights: Nights, export: Path, tmp_path: Path
) -> None:
    run(settings(settle=60.0))
    before = next(row for row in table(tmp_path / "out", "slides.csv") if row["donor"] == "D1")
    # What only became young (a backup changed its times) has the very files that were counted.
    nights.arrived["D1/A"] = 5.0
    assert run(settings(settle=60.0)).waiting == []
    write_slide(export / "D1/new", seed=5, cells=1)
    (export / "D1/new/cell_000.png").rename(export / "D1/A/cell_100.png")
    (export / "D1/new").rmdir()
    assert len(run(settings(settle=60.0)).waiting) == 1
    after = next(row for row in table(tmp_path / "out", "slides.csv") if row["donor"] == "D1")
    assert (after["status"], after["bn_cells"]) == ("done", before["bn_cells"])
    assert "its files are not those of this count" in after["warnings"]
    assert after["waiting_since"]
    assert "newer files of these slides wait" in table(tmp_path / "out", "donors.csv")[0]["warnings"]
    nights.arrived.clear()
    assert len(run(settings(settle=60.0)).scored) == 1
    counted = next(row for row in table(tmp_path / "out", "slides.csv") if row["donor"] == "D1")
    assert int(counted["bn_cells"]) + int(counted["excluded_cells"]) == 7
    assert "not those of this count" not in counted["warnings"]


@pytest.mark.parametrize(
    "name", ["cell_100.png.part", ".cell_100.png.X4kQ9z", "cell_100.png.filepart", "cell_100.png~"]
)
def test_a_copy_in_progress_makes_the_slide_wait_also_without_settle(
    settings, nights: Nights, export: Path, name: str
) -> None:
    (export / "D1/A" / name).write_bytes(b"\x89PNG half of it")
    nights.arrived[name] = 5.0
    outcome = run(settings())
    assert (len(outcome.waiting), len(outcome.scored)) == (1, 3)
    (export / "D1/A" / name).unlink()
    assert len(run(settings()).scored) == 1


def test_a_copy_that_broke_off_fails_its_slide_until_it_is_repaired(
    settings, nights: Nights, export: Path, tmp_path: Path
) -> None:
    left = export / "D1/A/cell_100.png.part"
    left.write_bytes(b"\x89PNG half of it")
    # A whole file of that name is there: what is left of the copy does not matter.
    (export / "D1/B/cell_000.png.part").write_bytes(b"\x89PNG half of it")
    outcome = run(settings())
    assert outcome.exit_code == 3
    row = next(row for row in table(tmp_path / "out", "slides.csv") if row["status"] == "failed")
    assert "not finished by their names (D1/A/cell_100.png.part)" in row["reason"]
    left.unlink()
    outcome = run(settings())
    assert (outcome.exit_code, len(outcome.scored)) == (0, 1)


def test_a_slide_of_which_only_a_copy_in_progress_is_there_is_listed(
    settings, nights: Nights, export: Path, tmp_path: Path
) -> None:
    (export / "D3/C").mkdir(parents=True)
    (export / "D3/C/cell_000.png.part").write_bytes(b"\x89PNG half of it")
    nights.arrived["D3"] = 5.0
    run(settings())
    assert next(row for row in table(tmp_path / "out", "donors.csv") if row["donor"] == "D3")["status"] == "waiting"
    (export / "D3/C/cell_000.png.part").unlink()
    run(settings())
    assert {row["donor"] for row in table(tmp_path / "out", "donors.csv")} == {"D1", "D2"}


def test_names_are_covered_where_slides_wait(settings, nights: Nights, export: Path, tmp_path: Path) -> None:
    (export / "D1/A/cell_Meier.png.part").write_bytes(b"\x89PNG half of it")
    nights.arrived["Meier"] = 5.0
    run(settings(pseudonymise=True))
    slides = (tmp_path / "out/slides.csv").read_text(encoding="utf-8-sig")
    assert "copies that are not finished" in slides
    assert "Meier" not in slides


def test_reports_are_made_again_where_slides_wait(settings, nights: Nights, tmp_path: Path) -> None:
    nights.arrived["D1/A"] = 5.0
    run(settings(settle=60.0))
    done = rebuild(open_store(tmp_path / "out"), ReportOptions(force=True))
    assert len(done.waiting) == 1
    assert done.failed == ()
