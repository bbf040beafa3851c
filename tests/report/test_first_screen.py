"""The first screen of a donor's page, lights, and the order of the batch page."""

import html
import json
import re

import pytest

from mnbatch.report.build import ReportOptions, build_reports
from mnbatch.report.rendering import explained
from tests.in_process import mnbatch
from tests.report.test_dose_pages import CURVE

OPTIONS = ReportOptions(gallery=0, min_cells=100)


@pytest.fixture
def scored(store, add_slide, add_failed):
    """D1 with a dose above 1 Gy, D2 with none, D3 with few cells, D4 failed."""
    for number, (name, called, cells) in enumerate((("d1", 60, 400), ("d2", 2, 400), ("d3", 1, 80))):
        scores = [0.9] * called + [0.1] * (cells - called)
        add_slide(store, name, scores, keep_crops=False, first_digest=1 + 1000 * number, donor=name.upper())
    add_failed(store, "d4", "no model serves its stain", donor="D4")
    return store


@pytest.fixture
def dosed(scored, tmp_path):
    (tmp_path / "curve.json").write_text(json.dumps(CURVE))
    assert mnbatch("dose", scored.paths.root, "--curve", tmp_path / "curve.json").returncode == 3
    return scored


def page(store, donor, name="index.html"):
    (folder,) = store.paths.donors.glob(f"{donor}-*")
    text = html.unescape(re.sub(r"<[^>]+>", "", (folder / name).read_text(encoding="utf-8")))
    return re.sub(r"\s+", " ", text)


def test_the_page_answers_the_four_questions(dosed):
    first, second = page(dosed, "D1"), page(dosed, "D2")
    for words in ("Exposed?", "How much?", "How sure?", "Reviewed by whom?"):
        assert words in first
    assert "Yes, more than without exposure" in first
    assert "60 cells with micronuclei in 400 cells" in first
    assert "No exposure is shown" in second
    assert "could be missed" in second
    assert "By nobody" in first
    assert "No person has reviewed the calls: the dose rests on the model's calls alone." in first


def test_without_curve_and_controls_exposure_cannot_be_said(scored):
    build_reports(scored, OPTIONS)
    text = page(scored, "D1")
    assert "Cannot be said" in text
    assert "do not use yet" in text
    assert "only a count of calls is known, no frequency" in text


def test_a_donor_that_failed_is_red_and_says_why(dosed):
    text = page(dosed, "D4")
    assert "Nothing was counted" in text
    assert "do not use yet" in text


def test_lights_are_in_tables_and_rows_and_few_cells_are_said(dosed, read_csv):
    rows = {row["donor"]: row for row in read_csv(dosed.paths.donors_csv)}
    assert {name: row["light"] for name, row in rows.items()} == {
        "D1": "amber",
        "D2": "amber",
        "D3": "amber",
        "D4": "red",
    }
    assert "Few cells: 80; at least 200 are needed for triage." in rows["D3"]["light_reasons"]
    index = dosed.paths.index.read_text(encoding="utf-8")
    # Three donors; their slides have no frequency and no dose of their own, and are red.
    assert index.count('class="light amber"') == 3
    assert "Donors: 1 red (do not use yet), 3 amber (use with care)" in index


def test_the_batch_page_has_the_highest_class_and_dose_first(dosed):
    index = dosed.paths.index.read_text(encoding="utf-8")
    table = index[index.index('id="donor-table"') :]
    assert re.findall(r'href="donors/(D\d)-', table)[:4] == ["D1", "D3", "D2", "D4"]
    assert "1 to 2 Gy" in table
    # D2 and D3 cannot be told from no exposure: their dose is no zero.
    assert table.count(">none shown<") == 2
    assert ">0.00<" not in table


def test_the_dose_scale_has_the_curves_yield_under_each_dose(dosed):
    (folder,) = dosed.paths.donors.glob("D1-*")
    text = (folder / "index.html").read_text(encoding="utf-8")
    svg = text[text.index('class="dosescale"') :]
    # C 0.01, alpha 0.06, beta 0.01: 80 per 1000 at 1 Gy, 170 at 2 Gy.
    for words in ("decision threshold", "1 Gy", "2 Gy", ">80.0<", ">170.0<"):
        assert words in svg[: svg.index("</figure>")], words


def test_pages_name_laboratory_and_export(scored, tmp_path):
    (tmp_path / "laboratory.toml").write_text('[laboratory]\nname = "Institute of Examples"\n')
    scored.paths.batch.write_text(
        json.dumps({"export": "/scans/2026-11", "layout": "x", "pseudonymised": False, "kind": "crops"})
    )
    done = mnbatch("report", scored.paths.root, "--laboratory", tmp_path / "laboratory.toml", "--gallery", "0")
    assert done.returncode == 3, done.stderr
    for text in (page(scored, "D1"), scored.paths.index.read_text(encoding="utf-8")):
        assert "Institute of Examples" in text
        assert "2026-11" in text
        assert "/scans" not in text
    assert "Institute of Examples" in page(scored, "D1", "sheet.html")


def test_abbreviations_are_explained_and_everything_else_escaped():
    assert explained("<b>MN & BN") == (
        '&lt;b&gt;<abbr title="micronucleus, micronuclei">MN</abbr> &amp; '
        '<abbr title="binucleated: a cell with two main nuclei, after one division">BN</abbr>'
    )
    assert explained("MNBNX") == "MNBNX"


def test_where_a_page_belongs_is_no_part_of_what_is_signed(dosed):
    """A renamed export must not make a sign-off outdated."""
    signed = mnbatch(*("review", "sign", dosed.paths.root, "--donor", "D1", "--name", "Ada", "--unfinished", "urgent"))
    assert signed.returncode == 0, signed.stderr
    dosed.paths.batch.write_text(
        json.dumps({"export": "/other/name", "layout": "x", "pseudonymised": False, "kind": "crops"})
    )
    mnbatch("report", dosed.paths.root)
    assert "valid: nothing changed since" in page(dosed, "D1")
