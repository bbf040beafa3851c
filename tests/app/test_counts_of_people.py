"""Curves and doses from what people saw: confirmed calls and complete reviews, and what is refused with them."""

import csv
import functools
import json
import shutil
from dataclasses import replace

import pytest

from mnbatch.app.dosing_service import dose_out, fit_and_write, fit_notes, make_dosing
from mnbatch.app.review_service import review_plan
from mnbatch.errors import CurveError, MismatchError, UsageError
from mnbatch.report.build import ReportOptions, build_reports
from mnbatch.results.dosing_settings import load_dosing
from mnbatch.results.store import Store
from mnbatch.review.queue import ReviewPlan, save_plan
from mnbatch.review.review_import import queues_of, save_decisions
from tests.report.conftest import add_slide
from tests.review.conftest import decide

CURVE_SLIDES = {
    "g0a": (0, 520, 8),
    "g0b": (0, 520, 9),
    "g1": (1, 200, 11),
    "g2": (2, 200, 23),
    "g3": (3, 200, 38),
    "g4": (4, 200, 58),
}
"""Slide -> Gy, cells, cells with a micronucleus; 12 more are called wrongly."""
FALSE = 12


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """An OUT with six slides of known dose and the slide of a donor X: 18 of 300 called, none of them right."""
    store = Store(tmp_path_factory.mktemp("scored") / "lab")
    for number, (name, (_, cells, right)) in enumerate(CURVE_SLIDES.items()):
        scores = [0.9] * (right + FALSE) + [0.1] * (cells - right - FALSE)
        add_slide(store, name, scores, keep_crops=False, first_digest=10_000 * number + 1, donor=name)
    add_slide(store, "x", [0.9] * 18 + [0.1] * 282, keep_crops=False, first_digest=900_000, donor="X")
    save_plan(store.paths, ReviewPlan(mode="confirm", negatives=100, quotas=dict.fromkeys([*CURVE_SLIDES, "x"], 100)))
    return store.paths.root


@pytest.fixture
def laboratory(scored, tmp_path):
    """A copy of it."""
    return Store(shutil.copytree(scored, tmp_path / "lab"))


@pytest.fixture
def sheet(tmp_path):
    path = tmp_path / "doses.csv"
    rows = [f"{name},{name},{dose}" for name, (dose, _, _) in CURVE_SLIDES.items()]
    path.write_text("\n".join(["slide,donor,dose_gy", *rows]) + "\n")
    return path


def index_of(cell_id):
    return int(cell_id[-8:-4])


def word_of(cell, with_mn):
    return "mn" if index_of(cell) < with_mn else "not_mn"


def look(store, names, right=None, count=1, **change):
    """A person decides all of the queue: the first cells of each slide have a micronucleus, as `CURVE_SLIDES` says."""
    for name in names:
        number = right if right is not None else CURVE_SLIDES[name][2]
        queue = queues_of(store, {name: None})[name]
        said = decide(queue, functools.partial(word_of, with_mn=number))
        said = [replace(d, count=count if d.decision == "mn" else None, **change) for d in said]
        save_decisions(store, said, "test")


def reported(store, code="X"):
    """The donor's row once the reports were made again."""
    build_reports(store, ReportOptions())
    return donor(store, code)


def donor(store, code="X"):
    """The donor's row as the last report wrote it."""
    with store.paths.donors_csv.open(encoding="utf-8-sig", newline="") as file:
        return next(row for row in csv.DictReader(file) if row["donor"] == code)


def sheet_of(store, code="X"):
    (folder,) = [f for f in store.paths.donors.iterdir() if f.name.startswith(f"{code}-")]
    return (folder / "sheet.html").read_text(encoding="utf-8")


def fit(store, sheet, kind, **more):
    path = sheet.parent / f"{kind}.json"
    return path, fit_and_write(store.paths.root, path, doses=sheet, counts=kind, **more)


def test_all_calls_overturned_reach_the_dose(laboratory, sheet):
    """18 of 300 called, all overturned: on a curve of confirmed counts the dose is from 0 of 300."""
    path, automatic = fit(laboratory, sheet, "automatic")
    assert automatic.scoring["mode"] == "automated (mnbatch)"
    dose_out(laboratory.paths.root, make_dosing(str(path)))
    look(laboratory, [*CURVE_SLIDES])
    look(laboratory, ["x"], right=0)
    row = reported(laboratory)
    assert (row["review_status"], row["headline_kind"], row["dose_counts"]) == ("complete", "confirmed", "automatic")
    assert "the model's calls (18 of 300 cells)" in row["dose_counts_note"]
    assert "a person found 0 of 300" in row["dose_counts_note"]
    assert "The dose rests on the model's calls, not on what a person saw." in row["light_reasons"]
    assert "curve fit OUT --from confirmed" in row["dose_counts_note"]
    assert "made from the model&#39;s calls (18 of 300 cells)" in sheet_of(laboratory)
    before = float(row["dose_estimate_gy"])
    path, confirmed = fit(laboratory, sheet, "confirmed")
    assert confirmed.scoring["mode"] == "confirmed (mnbatch)"
    assert [p["x"] for p in confirmed.about["fit"]["points"]] == [right for _, _, right in CURVE_SLIDES.values()]
    done = dose_out(laboratory.paths.root, make_dosing(str(path)))
    result = next(r for r in done.results if r.id == "X")
    assert (result.n, result.x, result.status) == (300, 0, "ok")
    row = donor(laboratory)
    assert (row["dose_counts"], row["dose_verdict"]) == ("confirmed", "below 1 Gy")
    assert "model's calls" not in row["light_reasons"]
    assert float(row["dose_estimate_gy"]) == 0.0 < before
    assert float(row["dose_high_gy"]) < 1.0
    assert "0 of 300, made from confirmed counts" in sheet_of(laboratory)


def test_a_complete_review_reaches_the_dose_on_a_curve_made_so(laboratory, sheet):
    save_plan(laboratory.paths, ReviewPlan(band=0.05, sample=1.0))
    look(laboratory, [*CURVE_SLIDES])
    look(laboratory, ["x"], right=0)
    path, reviewed = fit(laboratory, sheet, "reviewed")
    assert reviewed.scoring["mode"] == "reviewed (mnbatch)"
    dose_out(laboratory.paths.root, make_dosing(str(path)))
    row = donor(laboratory)
    assert (row["headline_kind"], row["dose_counts"], row["dose_estimate_gy"]) == ("reviewed", "reviewed", "0.0")
    # A complete review holds the confirmed counts, too.
    path, _ = fit(laboratory, sheet, "confirmed")
    dose_out(laboratory.paths.root, make_dosing(str(path)))
    assert donor(laboratory)["dose_counts"] == "confirmed"


def test_a_curve_of_confirmed_counts_refuses_automatic_cases(laboratory, sheet):
    look(laboratory, [*CURVE_SLIDES])
    path, _ = fit(laboratory, sheet, "confirmed")
    for allowed in (False, True):
        dose_out(laboratory.paths.root, make_dosing(str(path), allow_mismatch=allowed))
        row = donor(laboratory)
        assert (row["dose_status"], row["dose_estimate_gy"], row["dose_counts"]) == ("refused", "", "automatic")
        assert "confirm its called cells (mnbatch review plan OUT --mode confirm)" in row["dose_warnings"]
        assert "the confirmation of the called cells has not begun" in row["dose_counts_note"]


def test_a_confirmation_has_no_dose_on_a_curve_of_reviewed_counts(laboratory, sheet):
    save_plan(laboratory.paths, ReviewPlan(band=0.05, sample=1.0))
    look(laboratory, [*CURVE_SLIDES])
    path, _ = fit(laboratory, sheet, "reviewed")
    save_plan(laboratory.paths, ReviewPlan(mode="confirm", negatives=100))
    look(laboratory, ["x"], right=0)
    dose_out(laboratory.paths.root, make_dosing(str(path)))
    row = donor(laboratory)
    assert (row["dose_status"], row["headline_kind"]) == ("refused", "confirmed")
    assert "that is no complete review" in row["dose_counts_note"]
    assert "complete its review" in row["dose_warnings"]


def test_a_threshold_changed_after_the_confirmation_outdates_it(laboratory, sheet):
    look(laboratory, [*CURVE_SLIDES])
    look(laboratory, ["x"], right=0)
    path, _ = fit(laboratory, sheet, "confirmed")
    dose_out(laboratory.paths.root, make_dosing(str(path)))
    assert donor(laboratory)["dose_status"] == "ok"
    record = laboratory.record("x")
    changed = record.call.model_copy(update={"threshold": 0.6, "key": "another"})
    laboratory.put_record(record.model_copy(update={"call": changed}))
    row = reported(laboratory)
    assert (row["review_status"], row["dose_status"], row["confirmed_per_1000"]) == ("unfinished", "refused", "")
    assert "outdated" in row["review_reason"]
    more = sheet.parent / "more.csv"
    more.write_text(sheet.read_text() + "x,X,0\n")
    laboratory.put_record(record.model_copy(update={"call": record.call.model_copy(update={"key": "another"})}))
    with pytest.raises(CurveError, match=r"x: .*confirmation of the called cells is outdated"):
        fit(laboratory, more, "confirmed")


def test_a_curve_needs_every_slide_and_events_at_zero(laboratory, sheet):
    look(laboratory, [name for name in CURVE_SLIDES if name != "g2"])
    with pytest.raises(CurveError, match=r"1 of 6 slides .* no confirmed count: g2: .* has not begun"):
        fit(laboratory, sheet, "confirmed")
    look(laboratory, ["g2"])
    look(laboratory, ["g0a"], right=1, time="2026-11-23T11:00:00+00:00")
    look(laboratory, ["g0b"], right=1, time="2026-11-23T11:00:00+00:00")
    with pytest.raises(CurveError, match=r"2 events in 1040 cells at 0 Gy; 10 events in 1000 cells are needed"):
        fit(laboratory, sheet, "confirmed")
    with pytest.raises(UsageError, match="is a table"):
        fit_and_write(sheet, sheet.parent / "c.json", counts="confirmed")


def test_micronuclei_as_typed_make_a_curve_and_a_dose_of_micronuclei(laboratory, sheet):
    look(laboratory, [*CURVE_SLIDES])
    look(laboratory, ["x"], right=6, count=2)
    path, curve = fit(laboratory, sheet, "confirmed", endpoint="mn")
    assert curve.endpoint == "mn"
    assert [point["donor"] for point in curve.about["fit"]["points"]] == [1, 2, 3, 4, 5, 6]
    done = dose_out(laboratory.paths.root, make_dosing(str(path)))
    result = next(r for r in done.results if r.id == "X")
    assert (result.n, result.x, result.status) == (300, 12, "ok")
    assert result.dispersion_index > 1.5
    look(laboratory, ["x"], right=6, count=None, time="2026-11-23T12:00:00+00:00")
    row = reported(laboratory)
    assert row["dose_estimate_gy"] == ""
    assert "of 6 cells decided MN no number of micronuclei was typed" in row["dose_warnings"]
    look(laboratory, ["g1"], count=None, time="2026-11-23T12:00:00+00:00")
    with pytest.raises(CurveError, match="g1: of 11 cells decided MN no number"):
        fit(laboratory, sheet, "confirmed", endpoint="mn")


def test_contradictory_readings_are_named_and_count_as_called(laboratory, sheet):
    look(laboratory, [*CURVE_SLIDES])
    look(laboratory, ["g0a"], right=6, reviewer="Bo")
    path, curve = fit(laboratory, sheet, "confirmed")
    assert curve.about["fit"]["points"][0]["x"] == 8
    notes = fit_notes(laboratory.paths.root, curve)
    assert "6 of 7 slides of OUT are in the curve; without a dose in the sheet, and left out: x" in notes
    (note,) = [n for n in notes if n.startswith("g0a")]
    assert "2 called cells are unsure, or two people differ on them" in note
    dose_out(laboratory.paths.root, make_dosing(str(path)))
    row = donor(laboratory, "g0a")
    assert (row["double_read_cells"], row["double_read_differing"]) == ("120", "2")
    assert "two people differ" in row["dose_counts_note"]
    look(laboratory, ["g0a"], right=6, reviewer="Bo", count=3, time="2026-11-23T12:00:00+00:00")
    look(laboratory, ["g0a"], right=6, time="2026-11-23T12:00:00+00:00")
    with pytest.raises(CurveError, match="g0a: two people typed different numbers of micronuclei for 6 cells"):
        fit(laboratory, sheet, "confirmed", endpoint="mn")


def test_bare_counts_on_a_confirmed_curve_say_how_they_were_scored(laboratory, sheet, tmp_path):
    from mnbatch.app.dosing_service import dose_cases

    look(laboratory, [*CURVE_SLIDES])
    path, _ = fit(laboratory, sheet, "confirmed")
    cases = tmp_path / "cases.csv"
    cases.write_text(
        "id,N,X,scoring,threshold\na,1000,30,,0.5\nb,1000,30,automated (mnbatch),0.5\n"
        "c,1000,30,confirmed (mnbatch),0.5\n"
    )
    silent, automatic, confirmed = dose_cases(cases, make_dosing(str(path))).results
    assert (silent.status, automatic.status, confirmed.status) == ("refused", "refused", "ok")
    assert "does not say how it was scored" in silent.warnings[0]
    assert "--from automatic" in automatic.warnings[0]


def test_another_model_is_still_another_model(laboratory, sheet):
    look(laboratory, [*CURVE_SLIDES])
    path, _ = fit(laboratory, sheet, "confirmed")
    content = json.loads(path.read_text())
    content["scoring"]["model_digest"] = "cd" * 32
    path.write_text(json.dumps(content))
    with pytest.raises(MismatchError, match="another model"):
        dose_out(laboratory.paths.root, make_dosing(str(path)))
    assert load_dosing(laboratory.paths) is None


def test_a_plan_computes_what_it_draws_and_says_what_was_decided_before(laboratory):
    save_plan(laboratory.paths, ReviewPlan(band=0.05, sample=0.1))
    look(laboratory, ["x"], right=0)
    done = review_plan(laboratory.paths.root, {"mode": "confirm"})
    assert done.plan.negatives == done.plan.quotas["x"] or done.plan.quotas["x"] == 282
    text = "\n".join(done.notes)
    assert "proposed for donors of about" in text
    assert "it is not known how the model's errors differ from slide to slide" in text
    assert "to be read twice" in text
    assert "the plan was changed after" in text
    assert "1 slide that was begun is not complete under it" in text
    few = review_plan(laboratory.paths.root, {"negatives": 20, "double": 0.0})
    assert few.plan.quotas["x"] == 20
    assert "fewer than proposed" in "\n".join(few.notes)
    back = review_plan(laboratory.paths.root, {"mode": "complete"})
    assert (back.plan.quotas, back.plan.double, back.plan.mode) == ({}, 0.0, "complete")
    assert reported(laboratory)["headline_kind"] == "reviewed"
