"""`mnbatch verify`: every byte that was changed by hand is named, with what to do."""

import json
import os

import pytest

from mnbatch.app.signing_service import SignRequest, sign_donor
from mnbatch.assay.sample_sheet import SampleRow
from mnbatch.report.build import ReportOptions, build_reports
from mnbatch.results.annotations import save_samples
from mnbatch.results.store import Store
from mnbatch.review.queue import ReviewPlan, save_plan
from tests.in_process import mnbatch
from tests.report.conftest import add_slide
from tests.report.test_reviews import decide, save

OPTIONS = ReportOptions(gallery=2, min_cells=1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An OUT with everything that has a checksum."""
    store = Store(tmp_path_factory.mktemp("verify") / "out")
    add_slide(store, "a1", [0.9, 0.8, *[0.1] * 6])
    save_plan(store.paths, ReviewPlan(seed=2))
    save_samples(store.paths, {"a1": SampleRow(slide="a1", donor="D1", note="first")})
    save(store, "a1", decide(store, "a1"))
    sign_donor(store, SignRequest("D1", "Ada"), OPTIONS)
    return store


FILES = (
    "slides/a1/record.json",
    "slides/a1/g1/scores.csv",
    "slides/a1/g1/digests.bin",
    "slides/a1/g1/spectra.bin",
    "slides/a1/g1/crops.bin",
    "slides/a1/g1/maps.bin",
    "slides/a1/cells.csv",
    "slides/a1/index.html",
    "slides/a1/summary.json",
    "slides/a1/gallery/data.js",
    "annotations/samples.csv",
    "annotations/checksums.json",
    "annotations/reviews/plan.json",
    "annotations/reviews/a1.jsonl",
    "annotations/signatures.jsonl",
    "slides.csv",
    "donors.csv",
    "donors.xlsx",
    "index.html",
    "report.json",
)


def verify(store):
    done = mnbatch("verify", store.paths.root, "--json")
    return done.returncode, json.loads(done.stdout)["findings"]


def turned(data):
    """The same with a digit (or a byte) changed in its middle, at equal length."""
    at = next((i for i in range(len(data) // 2, len(data)) if data[i : i + 1].isdigit()), len(data) // 2)
    return data[:at] + (b"1" if data[at : at + 1] != b"1" else b"2") + data[at + 1 :]


def test_nothing_is_wrong_with_what_was_written(whole):
    assert verify(whole) == (0, [])
    said = mnbatch("verify", whole.paths.root)
    assert (said.returncode, said.stderr) == (0, "")
    assert "0 wrong, 0 not checkable" in said.stdout
    assert mnbatch("verify", whole.paths.root / "slides").returncode == 4


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["altered", "gone"])
def test_every_file_that_was_altered_or_lost_is_named_and_what_to_do(whole, name, kind):
    path = whole.paths.root / name
    data, stat = path.read_bytes(), path.stat()
    try:
        if kind == "gone":
            path.unlink()
        else:
            path.write_bytes(turned(data))
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        code, findings = verify(whole)
    finally:
        path.write_bytes(data)
    if kind == "gone" and name in ("slides/a1/summary.json", "report.json"):
        # Derived, and made again by the next report.
        assert all(found["state"] == "not checkable" for found in findings)
        return
    assert code == 3
    wrong = [found for found in findings if found["state"] == "wrong"]
    assert name in {found["path"] for found in wrong} or name == "annotations/checksums.json"
    assert wrong
    assert all(found["next_step"] for found in wrong)
    assert verify(whole) == (0, [])


def test_a_line_that_was_taken_out_of_a_trail_is_noticed(whole):
    path = whole.paths.review_trail("a1")
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    try:
        for kept in (lines[:-1], lines[1:], [lines[1], lines[0], *lines[2:]], [*lines[:2], *lines[3:]]):
            path.write_bytes(b"".join(kept))
            code, (found,) = verify(whole)
            assert code == 3
            assert found["path"] == "annotations/reviews/a1.jsonl"
            made = build_reports(whole, OPTIONS, {"a1": {"donor": "D1"}})
            assert made.bases["D1"].review_status == "unfinished", "its decisions count for nothing"
    finally:
        path.write_bytes(data)
        build_reports(whole, OPTIONS)


def test_an_out_of_an_earlier_version_is_read_and_said_to_be_one(tmp_path):
    store = Store(tmp_path / "out")
    add_slide(store, "a1", [0.9, 0.8, *[0.1] * 6], keep_crops=False)
    path = store.paths.slide("a1").record
    old = {k: v for k, v in json.loads(path.read_text()).items() if k not in ("checksum", "checksums")}
    path.write_text(json.dumps(old))
    save(store, "a1", decide(store, "a1"))
    lines = [json.loads(line) for line in store.paths.review_trail("a1").read_text().splitlines()]
    text = "".join(json.dumps({k: v for k, v in line.items() if k != "chain"}) + "\n" for line in lines)
    store.paths.review_trail("a1").write_text(text)
    store.paths.checksums.unlink()
    code, findings = verify(store)
    assert code == 0
    assert {found["path"] for found in findings if found["state"] == "not checkable"} == {
        "slides/a1/record.json",
        "slides/a1/g1/scores.csv",
        "slides/a1/g1/digests.bin",
        "slides/a1/g1/spectra.bin",
        "slides/a1/g1/thumbnails.bin",
        "annotations/reviews/a1.jsonl",
    }
    made = build_reports(store, ReportOptions(gallery=0))
    assert [slide.status for slide in made.slides] == ["done"]


def test_no_report_shows_numbers_of_altered_scores_or_of_an_altered_summary(tmp_path):
    store = Store(tmp_path / "out")
    add_slide(store, "a1", [0.9, 0.8, *[0.1] * 30], keep_crops=False)
    options = ReportOptions(gallery=0)
    build_reports(store, options)
    summary = store.paths.slide("a1").summary
    before = store.paths.slides_csv.read_bytes()
    summary.write_bytes(summary.read_bytes().replace(b'"mnbn_cells": 2', b'"mnbn_cells": 9'))
    cells = store.paths.slide("a1").cells_csv
    table = cells.read_bytes()
    build_reports(store, options)
    assert store.paths.slides_csv.read_bytes() == before
    cells.write_bytes(turned(table))
    build_reports(store, options)
    assert cells.read_bytes() == table
    scores = store.paths.slide("a1").generation("g1").scores
    scores.write_bytes(scores.read_bytes().replace(b",0.9,", b",0.1,", 1))
    (slide,) = build_reports(store, options).slides
    assert slide.status == "failed"
    assert "altered" in slide.reason
    assert b",failed," in store.paths.slides_csv.read_bytes()
