"""The second sheet: what the laboratory gives is printed, what it does not is listed, and no conformity is claimed."""

import json
import re

import pytest

from mnbatch.assay.laboratory import parse_laboratory
from mnbatch.assay.sample_sheet import match_samples, read_samples
from mnbatch.results.annotations import save_samples
from tests.in_process import mnbatch
from tests.report.test_dose_pages import CURVE

LABORATORY = """
[laboratory]
name = "Institute of Examples"
accreditation = "number 12"
[method]
culture = "whole blood, 72 h"
[report]
uncertainty = "Our own words."
signatures = ["Scored by", "Checked by"]
"""
SHEET = (
    "slide,donor,sex,age,sampling_date,request_number,requester,smoking,clinical_history,operator,scored_by\n"
    "a1,D1,f,41,2026-11-20,R-7,Hospital North,no,none known,Eva,Ada\n"
)


@pytest.fixture
def reported(store, add_slide, tmp_path):
    add_slide(store, "a1", [0.9] * 30 + [0.1] * 270, keep_crops=False)
    (tmp_path / "s.csv").write_text(SHEET)
    save_samples(store.paths, match_samples(read_samples(tmp_path / "s.csv"), [("a1", "a1", "d/a1")]))
    (tmp_path / "laboratory.toml").write_text(LABORATORY)
    curve = CURVE | {"irradiation": {"source": "X-ray tube", "dose_rate": "0.5 Gy/min"}}
    (tmp_path / "curve.json").write_text(json.dumps(curve))
    done = mnbatch("report", store.paths.root, "--laboratory", tmp_path / "laboratory.toml", "--gallery", "0")
    assert done.returncode == 0, done.stderr
    assert mnbatch("dose", store.paths.root, "--curve", tmp_path / "curve.json").returncode == 0
    return store


def sheet(store):
    (folder,) = store.paths.donors.iterdir()
    text = (folder / "sheet.html").read_text(encoding="utf-8")
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


def test_what_is_given_is_printed_and_what_is_not_is_listed(reported):
    text = sheet(reported)
    for words in (
        *("Institute of Examples", "number 12", "whole blood, 72 h", "Our own words.", "Checked by"),
        *("2026-11-20", "R-7", "Hospital North", "none known", "Eva", "Ada", "X-ray tube", "0.5 Gy/min"),
        "laboratory: address, contact",
        "curve: radiation quality, temperature, calibration of the doses",
        "report: report number, date of the report",
        "No interval of the frequency is given",
    ):
        assert words in text, words


def test_no_conformity_is_claimed(reported):
    text = sheet(reported)
    assert "ISO 17099:2024 leaves automated scoring out" in text
    assert not re.search(r"(?i)conform|complian|according to ISO", text)


def test_the_statement_is_kept_and_sealed(reported):
    assert reported.paths.laboratory.read_text() == LABORATORY
    assert mnbatch("verify", reported.paths.root).returncode == 0
    reported.paths.laboratory.write_text(LABORATORY.replace("12", "13"))
    done = mnbatch("verify", reported.paths.root)
    assert done.returncode == 3
    assert "laboratory.toml" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[laboratory]\nnme = 'x'", "Did you mean name"),
        ("[labratory]\nname = 'x'", "unknown table: labratory"),
        ("[laboratory]\nname = 3", "laboratory.name is no text"),
        ("[laboratory\n", "not valid TOML"),
        ("[report]\nsignatures = 'x'", "no list"),
        (f"[report]\nlimits = '{'x' * 900}'", "longer than 800"),
    ],
)
def test_a_file_that_is_misspelled_is_refused(store, add_slide, tmp_path, content, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        parse_laboratory(content)
    add_slide(store, "a1", [0.1] * 3, keep_crops=False)
    (tmp_path / "l.toml").write_text(content)
    done = mnbatch("report", store.paths.root, "--laboratory", tmp_path / "l.toml")
    assert done.returncode == 2
    assert not store.paths.laboratory.exists()


def test_curve_fit_asks_for_the_irradiation_and_keeps_it(tmp_path):
    table, curve = tmp_path / "points.csv", tmp_path / "curve.json"
    table.write_text("D,N,X\n0,4000,40\n0.5,4000,90\n1,4000,190\n2,3000,390\n3,2000,480\n4,2000,780\n")
    asked = mnbatch("curve", "fit", table, "--out", curve)
    assert asked.returncode == 0, asked.stderr
    assert "is not stated (source, quality, dose_rate, temperature, calibration)" in asked.stderr
    given = ["--irradiation", "source=Co-60", "--irradiation", "dose-rate=0.4 Gy/min"]
    done = mnbatch("curve", "fit", table, "--out", curve, *given)
    assert done.returncode == 0, done.stderr
    assert "is not stated (quality, temperature, calibration)" in done.stderr
    assert json.loads(curve.read_text())["irradiation"] == {"source": "Co-60", "dose_rate": "0.4 Gy/min"}
    assert "source Co-60, dose rate 0.4 Gy/min" in mnbatch("curve", "show", curve).stdout
    wrong = mnbatch("curve", "fit", table, "--out", curve, "--irradiation", "colour=blue")
    assert wrong.returncode == 2
    assert "keys are source, quality" in wrong.stderr


def test_free_text_of_the_sheet_is_left_out_under_pseudonyms(tmp_path):
    from mnbatch.report.slide_reports import sample_columns

    row = {"requester": "Dr Name", "clinical_history": "x", "sampling_date": "2026-11-20", "sex": "f"}
    kept = sample_columns(row, pseudonymised=True)
    assert (kept["requester"], kept["clinical_history"]) == ("", "")
    assert (kept["sampling_date"], kept["sex"]) == ("2026-11-20", "f")
