"""A report after a change writes the bytes of a report from nothing, and only the pages that changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mnbatch.dosimetry.calibration_curve import load_curve
from mnbatch.report.build import ReportOptions
from mnbatch.report.unchanged import bring_up_to_date
from mnbatch.results import whole_files
from mnbatch.results.acknowledged import Acknowledgement, acknowledge
from mnbatch.results.dosing_settings import DoseSettings, Dosing, save_dosing
from mnbatch.results.laboratory_file import keep_laboratory
from mnbatch.results.model_errors import keep_validation
from mnbatch.results.paths import OutPaths
from mnbatch.results.store import Store
from mnbatch.review import trail
from mnbatch.review.decisions import Decision
from mnbatch.review.review_import import queues_of
from tests.report.conftest import add_slide
from tests.report.test_dose_pages import CURVE

OPTIONS = ReportOptions(gallery=0, min_cells=5)
SHEET = {"a1": {"donor": "D1"}, "b1": {"donor": "D2"}}
Change = Callable[[Store], tuple[ReportOptions, dict[str, dict[str, str]]]]


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that a test wrote a moment ago are taken for old ones."""
    monkeypatch.setattr(whole_files, "SETTLED_SECONDS", -3600)


def slide(store: Store) -> tuple[ReportOptions, dict[str, dict[str, str]]]:
    add_slide(store, "a1", [0.9, 0.8, *[0.01] * 10], first_digest=1, keep_crops=False)
    return OPTIONS, SHEET


def copies(store: Store) -> tuple[ReportOptions, dict[str, dict[str, str]]]:
    """A new slide, in slide order before all others, has cells that others counted until now."""
    add_slide(store, "0", [0.9] * 4, first_digest=100, keep_crops=False, path="a/0")
    return OPTIONS, SHEET


def disputed(store: Store) -> tuple[ReportOptions, dict[str, dict[str, str]]]:
    """A new slide of one donor shows most cells of a slide of another donor."""
    add_slide(store, "z", [0.9] * 9, first_digest=101, keep_crops=False, donor="D9", path="z/z")
    return OPTIONS, SHEET


def sheet(store: Store) -> tuple[ReportOptions, dict[str, dict[str, str]]]:
    return OPTIONS, {**SHEET, "a2": {"donor": "D2", "sex": "f", "note": "moved"}}


def control(store: Store) -> tuple[ReportOptions, dict[str, dict[str, str]]]:
    """One slide becomes the batch's control: statistics of every donor hold it."""
    return OPTIONS, {**SHEET, "b1": {"donor": "D2", "control": "background", "dose_gy": "0"}}


def setting(store: Store) -> tuple[ReportOptions, dict[str, dict[str, str]]]:
    return replace(OPTIONS, min_cells=12), SHEET


def decision(store: Store) -> tuple[ReportOptions, dict[str, dict[str, str]]]:
    queue = queues_of(store, {"a2": None})["a2"]
    place = next(place for place in queue.places if place.rank is not None)
    said = Decision(
        "a2", place.cell_id, "mn", 1, "Ada", "2026-11-23T10:00:00+00:00", place.stratum, place.inclusion_probability,
        queue.model_digest, queue.result_key,
    )  # fmt: skip
    with trail.writing(store.paths):
        trail.append(store.paths, "a2", [said], "test")
    return OPTIONS, SHEET


def gone(store: Store) -> tuple[ReportOptions, dict[str, dict[str, str]]]:
    shutil.rmtree(store.paths.slide("b2").root)
    return OPTIONS, SHEET


def damaged(store: Store) -> tuple[ReportOptions, dict[str, dict[str, str]]]:
    """One letter of a slide's scores, at the same size."""
    scores = store.paths.slide("a2").generation("g1").scores
    scores.write_bytes(scores.read_bytes().replace(b"0.03", b"0.93", 1))
    return OPTIONS, SHEET


def edited(store: Store) -> tuple[ReportOptions, dict[str, dict[str, str]]]:
    """A table that a person edited."""
    table = store.paths.slide("a1").cells_csv
    table.write_bytes(table.read_bytes().replace(b",0,", b",1,", 1))
    return OPTIONS, SHEET


def acknowledged(store: Store) -> tuple[ReportOptions, dict[str, dict[str, str]]]:
    """A failure that a person said is known."""
    record = store.record("b3")
    assert record is not None
    acknowledge(
        store.paths, Acknowledgement("b3", record.stat_key, record.reason, "Ada", "2026-11-23T10:00:00+00:00", "broken")
    )
    return OPTIONS, SHEET


def another_reason(store: Store) -> tuple[ReportOptions, dict[str, dict[str, str]]]:
    record = store.record("b3")
    assert record is not None
    store.put_record(record.model_copy(update={"reason": "none of its cells could be read", "next_step": "Look."}))
    return OPTIONS, SHEET


def scored_later(store: Store) -> tuple[ReportOptions, dict[str, dict[str, str]]]:
    """The same scores, of another day and version, and another threshold."""
    record = store.record("a2")
    assert record is not None
    assert record.scored is not None
    assert record.call is not None
    scored = record.scored.model_copy(update={"finished": "2026-11-24T03:00:00+00:00", "mnbatch": "0.3"})
    call = record.call.model_copy(update={"threshold": 0.05})
    store.put_record(record.model_copy(update={"scored": scored, "call": call}))
    return OPTIONS, SHEET


def copied_elsewhere(store: Store) -> tuple[ReportOptions, dict[str, dict[str, str]]]:
    """Another copy of a slide that stays as it is."""
    record = store.record("c1")
    assert record is not None
    store.put_record(record.model_copy(update={"slide_id": "c2", "path": "z/c2", "name": "c2"}))
    return OPTIONS, SHEET


def curve(store: Store) -> tuple[ReportOptions, dict[str, dict[str, str]]]:
    """Doses of all donors from a curve that is now in force."""
    path = store.paths.root.parent / "curve.json"
    path.write_text(json.dumps(CURVE))
    save_dosing(store.paths, Dosing(load_curve(str(path)), DoseSettings("curve.json")))
    return OPTIONS, SHEET


def laboratory(store: Store) -> tuple[ReportOptions, dict[str, dict[str, str]]]:
    path = store.paths.root.parent / "laboratory.toml"
    path.write_text('[laboratory]\nname = "Institute"\n', encoding="utf-8")
    keep_laboratory(store.paths, path)
    return OPTIONS, SHEET


def own_scored_cells(store: Store) -> tuple[ReportOptions, dict[str, dict[str, str]]]:
    """Errors of the model by a person's own scoring: frequencies are corrected by them."""
    path = store.paths.root.parent / "own.csv"
    path.write_text("p_mn,truth\n" + "0.9,1\n" * 30 + "0.1,1\n" * 3 + "0.1,0\n" * 60 + "0.9,0\n")
    keep_validation(store, path)
    return OPTIONS, SHEET


def contents(out: Path) -> dict[str, bytes]:
    found = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if not name.startswith("runs/") and name != "lock.json"}


def from_nothing(out: Path, other: Path, options: ReportOptions, samples: dict[str, dict[str, str]]) -> Path:
    """The results and annotations of OUT in a new one, and its reports made there."""
    paths = OutPaths(out)
    for record in paths.slides.glob("*/record.json"):
        (other / "slides" / record.parent.name).mkdir(parents=True)
        shutil.copy2(record, other / "slides" / record.parent.name)
        for generation in record.parent.glob("g[0-9]*"):
            shutil.copytree(generation, other / "slides" / record.parent.name / generation.name)
    if paths.annotations.is_dir():
        shutil.copytree(paths.annotations, other / "annotations")
    bring_up_to_date(Store(other), options, samples)
    return other


@pytest.mark.parametrize(
    ("change", "pages"),
    [
        *((slide, 1), (copies, 2), (disputed, 2), (sheet, 1), (control, 4), (setting, 0), (decision, 1), (gone, 0)),
        *((damaged, 1), (edited, 1), (acknowledged, 1), (another_reason, 1), (scored_later, 1), (copied_elsewhere, 1)),
        *((curve, 0), (laboratory, 0), (own_scored_cells, 5)),
    ],
)
def test_after_a_change_the_bytes_are_those_of_a_report_from_nothing(
    batch: Store, tmp_path: Path, change: Change, pages: int
) -> None:
    for _ in range(2):  # the second one finds the pages whole, and keeps that
        (batch.paths.root / "donors.csv").unlink(missing_ok=True)
        bring_up_to_date(Store(batch.paths.root), OPTIONS, SHEET)
    options, samples = change(Store(batch.paths.root))
    made: Any = bring_up_to_date(Store(batch.paths.root), options, samples)
    other = from_nothing(batch.paths.root, tmp_path / "other" / "out", options, samples)
    assert contents(batch.paths.root) == contents(other)
    assert made.slides_built == pages


def test_a_slide_that_did_not_change_is_not_read(batch: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        (batch.paths.root / "donors.csv").unlink(missing_ok=True)
        bring_up_to_date(Store(batch.paths.root), OPTIONS, SHEET)
    read: list[str] = []
    stored = Store._stored

    def seen(store: Store, record: Any) -> Any:
        read.append(record.slide_id)
        return stored(store, record)

    monkeypatch.setattr(Store, "_stored", seen)

    def looked_at(_: object, record: Any, __: object) -> str:
        read.append(record.slide_id)
        return ""

    monkeypatch.setattr("mnbatch.results.store.damage", looked_at)
    monkeypatch.setattr("mnbatch.report.slide_reports.files_match", lambda root, *_: read.append(root.name))
    slide(batch)
    assert set(read) <= {"a1"}
    bring_up_to_date(Store(batch.paths.root), OPTIONS, SHEET)
    assert set(read) == {"a1"}
