"""A sign-off is about everything that the signed pages show: each input is changed in turn."""

import csv
import json
from dataclasses import asdict, replace

import pytest

from mnbatch.app.signing_service import SignRequest, sign_donor
from mnbatch.dosimetry.calibration_curve import load_curve
from mnbatch.report.build import ReportOptions, build_reports
from mnbatch.report.sign_off_basis import LEFT_OUT
from mnbatch.results.annotations import change
from mnbatch.results.dosing_settings import DoseSettings, Dosing, save_dosing
from mnbatch.results.model_errors import keep_validation
from mnbatch.results.records import RateStamp
from mnbatch.review.queue import ReviewPlan, save_plan
from mnbatch.review.sign_offs import EARLIER, Basis, read_signatures
from tests.report.test_dose_pages import CURVE
from tests.report.test_reviews import decide, save
from tests.report.test_statistics import MODEL

OPTIONS = ReportOptions(gallery=0, min_cells=1)
SAMPLES = {"k1": {"donor": "K", "control": "yes"}, "a1": {"sex": "f"}}


@pytest.fixture
def signed(store, add_slide, tmp_path):
    """D1 of two slides, reviewed, with a dose, a background and a card's rates; signed once."""
    for slide_id, mnbn, first, donor in (("a1", 9, 1, "D1"), ("a2", 8, 1000, "D1"), ("k1", 3, 2000, "K")):
        scores = [0.9] * mnbn + [0.45] * 10 + [0.1] * 101
        add_slide(store, slide_id, scores, first_digest=first, donor=donor, model=MODEL, keep_crops=False)
    for slide_id in ("a1", "a2"):
        save(store, slide_id, decide(store, slide_id))
    dose(store, tmp_path)
    sign_donor(store, SignRequest("D1", "Ada"), OPTIONS, SAMPLES)
    return store


def dose(store, tmp_path, settings=None, **changed):
    path = tmp_path / "curve.json"
    path.write_text(json.dumps(CURVE | changed))
    save_dosing(store.paths, Dosing(load_curve(str(path)), DoseSettings("curve.json", **(settings or {}))))


def build(store, samples=SAMPLES, **options):
    return build_reports(store, replace(OPTIONS, **options), samples)


def state(store, **options):
    """Status in donors.csv and what the page says of the sign-off."""
    build(store, **options)
    with store.paths.donors_csv.open(encoding="utf-8-sig", newline="") as file:
        return next(row for row in csv.DictReader(file) if row["donor"] == "D1")["signature_status"]


def put(store, slide_id, **fields):
    store.put_record(store.record(slide_id).model_copy(update=fields))


def threshold(store, *_):
    for slide_id in ("a1", "a2", "k1"):
        put(store, slide_id, call=store.record(slide_id).call.model_copy(update={"threshold": 0.4, "key": "other"}))


def validation(store, tmp_path, *_):
    path = tmp_path / "own.csv"
    path.write_text("p_mn,truth\n" + "0.9,1\n" * 30 + "0.1,1\n" * 3 + "0.1,0\n" * 60 + "0.9,0\n")
    keep_validation(store, path)


def card_rates(store, *_):
    stamp = MODEL.validation.model_copy(
        update={"sensitivity": RateStamp(data="validation, labelled", right=60, total=74)}
    )
    for slide_id in ("a1", "a2"):
        put(store, slide_id, model=MODEL.model_copy(update={"validation": stamp}))


def decision(store, *_):
    save(store, "a1", [replace(d, decision="mn", time="2026-11-24T10:00:00+00:00") for d in decide(store, "a1")[:1]])


def control_counts(store, _, add_slide):
    # From the third control slide on their scatter is known, and they are compared with.
    more = {}
    for number in (2, 3):
        slide_id, first = f"k{number}", 1000 * number + 9000
        add_slide(store, slide_id, [0.9] * 9 + [0.1] * 80, first_digest=first, donor="K", model=MODEL, keep_crops=False)
        more[slide_id] = {"donor": "K", "control": "yes"}
    return {"samples": {**SAMPLES, **more}}


def added(store, _, add_slide):
    add_slide(store, "a3", [0.9] + [0.1] * 80, first_digest=4000, donor="D1", model=MODEL, keep_crops=False)


def altered(store, *_):
    path = store.paths.slide("a2").generation("g1").scores
    path.write_bytes(path.read_bytes().replace(b",0.9,", b",0.1,", 1))


INPUTS = {
    "threshold": threshold,
    "own scored cells": validation,
    "rates of the card": card_rates,
    "no control any more": lambda *_: {"samples": {}},
    "counts of the controls": control_counts,
    "is a control itself": lambda *_: {"samples": {**SAMPLES, "a2": {"control": "yes"}}},
    "sex": lambda *_: {"samples": {**SAMPLES, "a1": {"sex": "m"}}},
    "curve": lambda store, tmp_path, *_: dose(store, tmp_path, coefficients={"C": 0.01, "alpha": 0.07, "beta": 0.01}),
    "level": lambda store, tmp_path, *_: dose(store, tmp_path, {"level": 0.9}),
    "exposure": lambda store, tmp_path, *_: dose(store, tmp_path, {"exposure_hours": 8.0}),
    "no curve": lambda store, *_: store.paths.dosing.unlink(),
    "decision": decision,
    "plan": lambda store, *_: save_plan(store.paths, ReviewPlan(band=0.03, sample=0.05, least_band=3, least_sample=5)),
    "least cells": lambda *_: {"min_cells": 5000},
    "slide added": added,
    "slide failed": lambda store, *_: put(store, "a2", status="failed", reason="lost", generation=None),
    "slide altered": altered,
    "slide a copy": lambda store, *_: put(store, "a2", status="copy", copy_of="a1", reason="copy"),
    "warning": lambda store, *_: put(store, "a2", warnings=("3 of 120 cells could not be read",)),
    "name of a slide": lambda store, *_: put(store, "a2", name="another"),
}


@pytest.mark.parametrize("name", INPUTS)
def test_a_sign_off_is_outdated_when_any_input_changes_and_says_what(signed, add_slide, tmp_path, name):
    assert state(signed) == "stands"
    changed = INPUTS[name](signed, tmp_path, add_slide) or {}
    assert state(signed, **changed) == "outdated"
    made = build(signed, **changed)
    (signature,) = read_signatures(signed.paths).entries
    said = "; ".join(made.bases["D1"].changes(signature.basis))
    assert said
    assert said != "the donor's numbers changed"
    (page,) = signed.paths.donors.glob("D1-*/index.html")
    assert "No sign-off is valid" in page.read_text(encoding="utf-8")


def test_what_changed_is_told_with_old_and_new(signed, tmp_path):
    validation(signed, tmp_path)
    (signature,) = read_signatures(signed.paths).entries
    said = " ".join(build(signed).bases["D1"].changes(signature.basis))
    assert "Corrected for classifier error label: " in said
    assert " then, " in said
    assert "Expected from all scores note changed" in said


def test_made_again_without_a_change_it_stands(signed, add_slide):
    assert state(signed) == state(signed, force=True) == "stands"
    # Another donor's slide, a link and the sign-off itself are none of what it is about.
    add_slide(signed, "z1", [0.9] + [0.1] * 80, first_digest=6000, donor="Z", model=MODEL, keep_crops=False)
    assert state(signed) == "stands"
    assert state(signed, gallery=3) == "stands"
    assert len({basis.digest for basis in (build(signed).bases["D1"] for _ in range(2))}) == 1
    assert "signed" in LEFT_OUT


def test_two_slides_of_one_name_are_both_held(signed):
    put(signed, "a2", name="a1")
    shown = build(signed).bases["D1"].shown
    assert len([name for name in shown if "slides a1 frequency mnbn cells" in name]) == 2


def test_a_sign_off_of_an_earlier_version_is_read_and_said(signed):
    basis = build(signed).bases["D1"]
    old = Basis(basis.slides, basis.numbers, basis.dose, basis.review_status)
    row = asdict(read_signatures(signed.paths).entries[0]) | {"name": "Old", "digest": old.digest}
    row["basis"] = {name: value for name, value in asdict(old).items() if name not in ("shown", "version")}
    change(signed.paths, append={signed.paths.signatures: [row]})
    entries = read_signatures(signed.paths).entries
    assert [entry.name for entry in entries] == ["Ada", "Old"]
    assert basis.changes(entries[1].basis) == (EARLIER,)
    assert state(signed) == "stands", "the other one does"
