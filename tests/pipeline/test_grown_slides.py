"""Images that come into a slide while the run goes on are in no count: the morning's report says so, by name."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from mnbatch.app.out_status import out_status
from mnbatch.app.rebuild import open_store
from mnbatch.console import SilentProgress
from mnbatch.errors import StorageError
from mnbatch.pipeline.planned_scoring import Share, score_planned
from mnbatch.pipeline.run import run
from mnbatch.pipeline.since_planned import Arrivals
from tests.in_process import mnbatch
from tests.pipeline.conftest import CELLS, write_slide


class ScannerGoesOn(SilentProgress):
    """Copies an image into a slide once the first slide is scored."""

    def __init__(self, into: Path) -> None:
        self.into = into
        self.warnings: list[str] = []

    def slide(self, name: str, outcome: str) -> None:
        shutil.copy(self.into.parent / "A" / "cell_000.png", self.into / "late.png")

    def warning(self, text: str) -> None:
        self.warnings.append(text)


def rows(out: Path, table: str) -> list[dict[str, str]]:
    with (out / table).open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def test_images_that_come_during_a_run_are_said_and_scored_by_the_next(settings, export: Path, tmp_path: Path) -> None:
    grows, out = export / "D1" / "B", tmp_path / "out"
    shutil.rmtree(grows)
    write_slide(grows, seed=99)
    progress = ScannerGoesOn(grows)
    outcome = run(settings(), progress)
    (waits,) = outcome.waiting
    assert outcome.exit_code == 0
    assert len(outcome.scored) == 4
    (said,) = (warning for warning in progress.warnings if "came while the run" in warning)
    assert said.startswith("B: 1 of its files came while the run went on")
    assert "D1/B/late.png" in said
    slides = {(row["donor"], row["slide"]): row for row in rows(out, "slides.csv")}
    assert "1 of its files came" in slides["D1", "B"]["warnings"]
    assert "1 of its files came" in slides["D1", "B"]["light_reasons"]
    assert "1 of its files came" not in slides["D1", "A"]["warnings"]
    donors = {row["donor"]: row for row in rows(out, "donors.csv")}
    assert f"Newer files of these slides wait to be scored: {waits}" in donors["D1"]["light_reasons"]
    assert donors["D1"]["light"] != "green"
    assert "wait to be scored" not in donors["D2"]["light_reasons"]
    (known,) = out_status(out).waiting
    assert (known.slide_id, known.scored) == (waits, True)

    again = run(settings())
    assert again.scored == [waits]
    assert not again.waiting
    record = open_store(out).record(waits)
    assert record is not None
    assert (record.cells, record.waiting) == (CELLS + 1, None)
    assert not out_status(out).waiting
    assert all("came while" not in row["warnings"] for row in rows(out, "slides.csv"))


def test_a_job_of_a_plan_looks_again_too(settings, export: Path, models, tmp_path: Path) -> None:
    out, plan = tmp_path / "out", tmp_path / "plan.json"
    made = mnbatch(
        "run",
        export,
        "--layout",
        "donor-slide-folders",
        "--model",
        models["one"],
        "--device",
        "cpu",
        "--out",
        out,
        "--plan-only",
        "--json",
    )
    plan.write_text(made.stdout)
    progress = ScannerGoesOn(export / "D1" / "B")
    done = score_planned(out, plan, Share(token="n"), progress)
    assert (len(done.scored), done.exit_code) == (4, 0)
    assert sum("came while the run" in warning for warning in progress.warnings) == 1
    (known,) = out_status(out).waiting
    assert "D1/B/late.png" in known.reason


def test_images_that_are_taken_back_leave_no_word(settings, export: Path, tmp_path: Path) -> None:
    assert run(settings(), ScannerGoesOn(export / "D1" / "B")).waiting
    (export / "D1" / "B" / "late.png").unlink()
    assert not run(settings()).scored
    assert not out_status(tmp_path / "out").waiting


def test_a_folder_that_cannot_be_listed_again_costs_no_report(settings, tmp_path: Path, monkeypatch) -> None:
    def unlisted(self: Arrivals, slide: object) -> list[str]:
        raise StorageError("Cannot list it.", "Mount the share.")

    monkeypatch.setattr(Arrivals, "of", unlisted)
    progress = ScannerGoesOn(tmp_path)
    progress.slide = lambda name, outcome: None  # type: ignore[method-assign]
    outcome = run(settings(), progress)
    assert outcome.exit_code == 0
    assert sum("is not known" in warning for warning in progress.warnings) == 4
    assert len(rows(tmp_path / "out", "slides.csv")) == 4


@pytest.mark.parametrize("layout", ["donor-slide-folders", "{donor}/{slide}/{cell}.png"])
def test_under_codes_no_name_is_said(settings, export: Path, tmp_path: Path, layout: str) -> None:
    (export / "D1").rename(export / "Quuxberg")
    progress = ScannerGoesOn(export / "Quuxberg" / "B")
    outcome = run(settings(pseudonymise=True, layout=layout), progress)
    (waits,) = outcome.waiting
    (said,) = (warning for warning in progress.warnings if "came while the run" in warning)
    assert said.startswith(f"{waits}: ")
    text = (tmp_path / "out" / "slides.csv").read_text(encoding="utf-8-sig")
    assert "1 of its files came" in text
    assert not {"Quuxberg", "late"} & set(said.replace("/", " ").split())
    assert "Quuxberg" not in text
    assert "late.png" not in text
    again = run(settings(pseudonymise=True, layout=layout))
    assert (again.scored, again.waiting) == ([waits], [])
