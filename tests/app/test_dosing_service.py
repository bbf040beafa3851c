"""Curves and doses without the command line."""

import json

import pytest

from mnbatch.app.dosing_service import (
    check_level,
    dose_cases,
    dose_out,
    fit_and_write,
    make_dosing,
    refuse_faults,
    show_curve,
    suspected_ratios,
    write_curve_figure,
)
from mnbatch.errors import CurveError, MismatchError, NoInputError, UsageError
from mnbatch.results.dosing_settings import load_dosing
from tests.in_process import mnbatch
from tests.report.test_dose_pages import CURVE

CASES = "id,N,X\ngood,1000,80\nbad,0,3\n"


@pytest.fixture
def curve(tmp_path):
    def write(**change):
        path = tmp_path / "curve.json"
        path.write_text(json.dumps(CURVE | {"scoring": {"mode": "manual"}} | change))
        return str(path)

    return write


@pytest.fixture
def cases(tmp_path):
    path = tmp_path / "cases.csv"
    path.write_text(CASES)
    return path


def test_doses_of_cases_are_what_the_command_prints(curve, cases):
    dosing = make_dosing(curve(), method="delta", level=0.9)
    done = dose_cases(cases, dosing)
    assert [(r.id, r.status == "ok") for r in done.results] == [("good", True), ("bad", False)]
    assert [found is None for _, found in done.pairs] == [False, True]
    assert (done.missing, done.not_counted, done.index) == ({}, (), None)
    (ratio, none) = suspected_ratios(done.results, dosing, 1.0)
    said = mnbatch("dose", "--cases", cases, "--curve", curve(), "--method", "delta", "--level", "0.9", "--json",
                   "--triage", "--suspected-gy", "1")  # fmt: skip
    assert said.returncode == 3
    first, second = map(json.loads, said.stdout.splitlines())
    assert first == done.results[0].to_json() | {
        "triage": done.pairs[0][1].to_json(),
        "suspected": {"dose_gy": 1.0, "log10_background_over_suspected": ratio},
    }
    assert (second["triage"], second["suspected"]["log10_background_over_suspected"], none) == (None, None, None)
    assert dose_cases(cases, dosing, with_triage=False).pairs[0][1] is None


def test_ids_that_cannot_be_told_apart_on_a_page_or_by_ear_are_said(curve, tmp_path):
    table = tmp_path / "cases.csv"
    rows = ['"D07\nD08",1000,100', "001,1000,60", "1,1000,300", "D-1,1000,60", "d\u20131,1000,70"]
    table.write_text("\n".join(["id,N,X", *rows]), encoding="utf-8")
    done = dose_cases(table, make_dosing(curve()))
    first, *others = done.results
    assert (first.id, first.status) == (r"'D07\nD08'", "failed")
    assert [result.status for result in others] == ["ok"] * 4
    (note,) = [note for note in done.notes if "one person" in note]
    assert "'001' and '1' read the same" in note
    assert "'D-1' and 'd\u20131' read the same" in note
    table.write_text("id,N,X\n")
    with pytest.raises(UsageError, match="holds no case"):
        dose_cases(table, make_dosing(curve()))


def test_doses_of_an_out_are_kept_there(out, curve):
    scoring = CURVE["scoring"]
    done = dose_out(out.paths.root, make_dosing(curve(scoring=scoring)))
    assert [(r.id, r.status) for r in done.results] == [("D1", "ok")]
    assert done.index == out.paths.index
    assert len(done.notes) == 1
    assert load_dosing(out.paths).settings.source == "curve.json"
    said = mnbatch("dose", out.paths.root, "--curve", curve(scoring=scoring), "--json")
    assert json.loads(said.stdout) == done.results[0].to_json()
    assert said.stderr.splitlines() == [f"mnbatch: {done.notes[0]}", f"report: {done.index}"]


def test_refusals(out, curve, cases, tmp_path):
    with pytest.raises(NoInputError):
        dose_out(tmp_path / "nowhere", make_dosing(curve()))
    with pytest.raises(MismatchError, match="does not belong"):
        dose_out(out.paths.root, make_dosing(curve(scoring=CURVE["scoring"] | {"model_digest": "cd" * 32})))
    assert load_dosing(out.paths) is None
    with pytest.raises(UsageError, match="belong together"):
        make_dosing(curve(), sensitivity="9/10")
    with pytest.raises(UsageError, match="counted rate"):
        make_dosing(curve(), sensitivity="9/10", specificity="much")
    for level in (0.0, 1.0, float("nan")):
        with pytest.raises(UsageError, match="not a confidence level"):
            check_level(level)
    with pytest.raises(UsageError):
        make_dosing("example:nobody")
    with pytest.raises(UsageError):
        dose_cases(tmp_path / "nowhere.csv", make_dosing(curve()))


def test_a_curve_is_fitted_written_shown_and_drawn(tmp_path):
    table, path = tmp_path / "t.csv", tmp_path / "fitted.json"
    table.write_text("D,N,X\n0,1000,20\n1,1000,70\n2,1000,160\n3,1000,290\n4,1000,470\n")
    fitted = fit_and_write(table, path, scoring="manual")
    shown = show_curve(str(path))
    assert list(shown.curve.coefficients) == pytest.approx(list(fitted.coefficients))
    assert shown.faults == ()
    refuse_faults(shown, "it")
    write_curve_figure(shown.curve, 0.95, tmp_path / "c.svg")
    assert "<svg" in (tmp_path / "c.svg").read_text()
    table.write_text("D,N,X\n0,1000,300\n1,1000,260\n2,1000,200\n3,1000,20\n")
    with pytest.raises(CurveError, match="falls with dose"):
        fit_and_write(table, path)


def test_curves_of_an_out(out, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoInputError, match="holds no results"):
        fit_and_write(tmp_path / "empty", tmp_path / "c.json")
    with pytest.raises(UsageError, match="No slide has a known dose"):
        fit_and_write(out.paths.root, tmp_path / "c.json")


def test_a_curve_without_doses_is_shown_and_refused(curve):
    shown = show_curve(curve(coefficients={"C": 0.3, "alpha": -0.03, "beta": 0}))
    with pytest.raises(CurveError, match="No dose can be read from c: "):
        refuse_faults(shown, "c")
