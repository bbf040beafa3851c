"""The statistics in tables and pages, on stores made through the store's own writer."""

import csv
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from mnbatch.cli import app
from mnbatch.report.build import ReportOptions, build_reports
from mnbatch.report.tables import DONORS, SLIDES
from mnbatch.results.records import ModelStamp, RateStamp, SlideCountsStamp, ValidationStamp
from mnbatch.results.store import Store

OPTIONS = ReportOptions(gallery=0, min_cells=5)
MODEL = ModelStamp(
    name="m",
    version="1",
    digest="ab" * 32,
    architecture="a",
    validation=ValidationStamp(
        threshold=0.5,
        sensitivity=RateStamp(data="validation, labelled", right=62, total=74),
        specificity=RateStamp(data="validation, labelled", right=39, total=39),
    ),
)


def scores(mnbn, cells):
    return [0.9] * mnbn + [0.1] * (cells - mnbn)


@pytest.fixture
def tables(read_csv):
    def read(store, samples=None):
        build_reports(store, OPTIONS, samples)
        slides = {row["slide_id"]: row for row in read_csv(store.paths.slides_csv)}
        return slides, {row["donor"]: row for row in read_csv(store.paths.donors_csv)}

    return read


@pytest.fixture
def two_donors(store, add_slide):
    """D1 with three slides of which one is odd; D2 with one slide. No pictures, no maps."""
    counts = {"a1": (1, 60), "a2": (1, 60), "a3": (20, 60), "b1": (4, 50)}
    for number, (slide_id, (mnbn, cells)) in enumerate(counts.items()):
        donor = "D1" if slide_id.startswith("a") else "D2"
        first = 1 + 1000 * number
        add_slide(store, slide_id, scores(mnbn, cells), first_digest=first, donor=donor, model=MODEL, keep_crops=False)
    return store


def page(store, donor):
    return next(store.paths.donors.glob(f"{donor}-*/index.html")).read_text(encoding="utf-8")


def by_slide(model=MODEL, slides=10):
    """The model with the counts of each validation slide on its card."""
    counts = [SlideCountsStamp(n=1000, n_mn=60, called=75 + i, right=50 + i % 4) for i in range(slides)]
    return model.model_copy(update={"validation": model.validation.model_copy(update={"slides": tuple(counts)})})


def untagged(text):
    """Abbreviations are explained by tags within the words."""
    return re.sub(r"<[^>]+>", "", text)


def test_a_card_without_slides_gives_no_frequency_but_the_calls_and_what_would_give_one(two_donors, tables):
    slides, donors = tables(two_donors)
    row = slides["b1"]
    assert (row["mnbn_cells"], row["mnbn_per_1000"]) == ("4", "80.0")
    assert [row[c] for c in ("corrected_per_1000", "corrected_ci_low", "headline_per_1000", "headline_low")] == [""] * 4
    assert [row[c] for c in ("se_right", "se_cells", "sp_right", "sp_cells")] == ["62", "74", "39", "39"]
    assert "how the model's errors differ from slide to slide: nothing is corrected" in row["correction_note"]
    assert (row["headline_kind"], donors["D2"]["headline_kind"]) == ("none", "none")
    assert "A review of 50 cells gives a frequency" in donors["D2"]["trust"]
    assert (row["expected_per_1000"], row["score_shift_p"]) == ("", "")
    assert "holds no validation scores" in row["expected_note"]
    text = page(two_donors, "D2")
    assert "4 of 50" in text
    assert "cells called MN by the model: not a frequency" in untagged(text)
    assert "Cells the model called" in text


def test_slides_of_known_truth_give_an_estimated_headline(store, add_slide, tables):
    for number, slide_id in enumerate(("a1", "a2")):
        add_slide(store, slide_id, scores(20, 300), model=by_slide(), keep_crops=False, first_digest=1 + 1000 * number)
    slides, donors = tables(store)
    for row in (slides["a1"], donors["D1"]):
        assert row["headline_kind"] == "estimated"
        assert 0 <= float(row["headline_low"]) <= float(row["headline_per_1000"]) <= float(row["headline_high"])
        assert (row["headline_per_1000"], row["headline_high"]) == (row["corrected_per_1000"], row["corrected_ci_high"])
        assert "10 validation slides" in row["trust"]
    assert float(donors["D1"]["headline_high"]) < float(slides["a1"]["headline_high"])
    assert "MNBN per 1000 BN cells, estimated from the model&#39;s calls" in untagged(page(store, "D1"))


@pytest.mark.parametrize("slides", [1, 5])
def test_few_validation_slides_correct_nothing(store, add_slide, tables, slides):
    add_slide(store, "a1", scores(20, 300), model=by_slide(slides=slides), keep_crops=False)
    row = tables(store)[0]["a1"]
    assert (row["headline_kind"], row["corrected_per_1000"]) == ("none", "")
    assert f"{slides} validation slide" in row["trust"]
    assert "6 are needed" in row["trust"]


def test_slides_that_differ_as_the_model_does_are_not_flagged(store, add_slide, tables):
    # Validation slides of one truth on which 1 % to 9 % of the cells are called wrongly.
    counts = [SlideCountsStamp(n=1000, n_mn=60, called=50 + 10 + 10 * i, right=50) for i in range(9)]
    known = MODEL.model_copy(update={"validation": MODEL.validation.model_copy(update={"slides": tuple(counts)})})
    for donor, model, first in (("D1", MODEL, 1), ("D2", known, 5000)):
        for number, mnbn in enumerate((9, 40)):
            slide_id = f"{donor}-{number}"
            first_digest = first + 1000 * number
            add_slide(store, slide_id, scores(mnbn, 500), model=model, donor=donor, keep_crops=False,
                      first_digest=first_digest)  # fmt: skip
    _, donors = tables(store)
    assert donors["D1"]["disagreeing_slides"] != ""
    assert "how much the model itself differs between slides is not known" in donors["D1"]["warnings"]
    assert donors["D2"]["disagreeing_slides"] == ""


def test_the_odd_slide_is_flagged_with_its_donor(two_donors, tables):
    slides, donors = tables(two_donors)
    assert donors["D1"]["disagreeing_slides"] == "a3"
    assert float(donors["D1"]["slides_differ_p"]) < 0.001
    assert "disagreeing with the donor's other slides: a3" in donors["D1"]["warnings"]
    assert float(slides["a3"]["against_others_p"]) < 0.001
    assert slides["b1"]["against_others_p"] == donors["D2"]["slides_differ_p"] == ""
    assert "The slides differ" in page(two_donors, "D1")
    index = two_donors.paths.index.read_text(encoding="utf-8")
    assert "In 1 donor of 1 with several slides, slides disagree. By chance it would be at most 0.01 of them" in index


def test_a_donor_of_known_age_and_sex_is_compared_with_what_controls_of_that_age_have(store, add_slide, tables):
    samples = {}
    for number in range(20):
        slide_id = f"c{number}"
        add_slide(store, slide_id, scores(1 + number // 4, 40), first_digest=1 + 100 * number, donor=f"C{number}",
                  model=MODEL, keep_crops=False)  # fmt: skip
        samples[slide_id] = {"donor": f"C{number}", "control": "yes", "sex": "F", "age": f"{20 + 3 * number}"}
    for number, donor in enumerate(("young", "old", "nobody", "man")):
        add_slide(store, donor, scores(5, 40), first_digest=9001 + 100 * number, donor=donor, model=MODEL,
                  keep_crops=False)  # fmt: skip
    stated = {"young": ("f", "22"), "old": ("f", "75"), "nobody": ("", ""), "man": ("m", "40")}
    samples |= {name: {"donor": name, "sex": sex, "age": age} for name, (sex, age) in stated.items()}
    slides, donors = tables(store, samples)
    young, old, nobody, man = (donors[name] for name in stated)
    assert float(young["background_per_1000"]) < 50 < 100 < float(old["background_per_1000"])
    assert float(young["background_p"]) < 0.05 < float(old["background_p"])
    assert old["background_basis"].endswith("what 20 control donors let expect of a woman of 75")
    assert slides["old"]["background_basis"] == old["background_basis"]
    # Which background was taken is stated next to the light; it is none of the reasons to take care.
    said = page(store, "old")
    assert "<small>Background: own controls by age and sex" in said
    assert "<li>Background" not in said
    assert old["background_basis"] in old["light_reasons"]
    assert "of this age and sex" in untagged(page(store, "old"))
    assert "what 20 control donors let expect of a woman of 75; 95 of 100 unexposed ones" in untagged(
        page(store, "old")
    )
    sheet = next(store.paths.donors.glob("old-*/sheet.html")).read_text(encoding="utf-8")
    assert "let expect of a woman of 75, scored in the same way" in untagged(sheet)
    assert {young["background"], old["background"], nobody["background"]} == {"control"}
    assert man["background_basis"].endswith("all ages and both sexes: no man is among the controls")
    assert "no man is among the controls" in man["light_reasons"]
    assert "age and sex of the donor are not given" in nobody["background_basis"]
    assert "background:" not in nobody["light_reasons"].lower()
    assert {row["background_p"] for row in (nobody, man)} == {nobody["background_p"]}
    ageless = {name: row | {"age": "", "sex": ""} for name, row in samples.items()}
    without, _ = tables(store, ageless)
    assert {without[name]["background_p"] for name in stated} == {slides["nobody"]["background_p"]}


def test_calls_are_compared_with_own_controls_and_never_with_the_literature(two_donors, add_slide, tables):
    unreviewed, _ = tables(two_donors)
    assert unreviewed["a1"]["background"].startswith("not compared: the calls were not reviewed")
    assert (unreviewed["a1"]["background_per_1000"], unreviewed["a1"]["background_p"]) == ("", "")
    control = {"donor": "D2", "control": "yes"}
    slides, donors = tables(two_donors, {"b1": control})
    assert (slides["b1"]["control"], slides["b1"]["background"], slides["b1"]["background_p"]) == (
        "yes",
        "is a control",
        "",
    )
    assert "1 control slide cannot show how much slides of this model differ" in slides["a1"]["background"]
    for number, mnbn in enumerate((1, 3)):
        add_slide(two_donors, f"b{2 + number}", scores(mnbn, 50), donor="D2", model=MODEL, keep_crops=False,
                  first_digest=9000 + 1000 * number)  # fmt: skip
    slides, donors = tables(two_donors, dict.fromkeys(("b1", "b2", "b3"), control))
    assert (slides["a1"]["background"], slides["a1"]["background_per_1000"]) == ("control", "53.3333")
    assert donors["D1"]["background"] == "control"
    assert float(slides["a3"]["background_p"]) < 0.01 < float(slides["a1"]["background_p"])
    assert "Own control: 3 slides of 1 donor" in page(two_donors, "D1")
    assert "Is a control." in page(two_donors, "D2")


def test_a_new_control_makes_the_pages_that_show_it_again(two_donors):
    build_reports(two_donors, OPTIONS)
    assert build_reports(two_donors, OPTIONS).slides_built == 0
    assert build_reports(two_donors, OPTIONS, {"b1": {"control": "yes"}}).slides_built == 4


def test_precision_says_what_more_cells_would_bring(two_donors, tables):
    _, donors = tables(two_donors)
    row = donors["D2"]
    assert (row["cells_tier"], row["next_tier"]) == ("", "200")
    assert float(row["next_tier_ci_width"]) < float(row["ci_width"])
    assert "fewer than the 200 needed for triage" in page(two_donors, "D2")


def test_a_failed_slide_has_no_statistics(store, add_failed, tables):
    add_failed(store, "f1", "unreadable")
    slides, donors = tables(store)
    for row, header, last in (
        (slides["f1"], SLIDES.header, "against_others_p"),
        (donors["D1"], DONORS.header, "dispersion"),
    ):
        names = header[header.index("corrected_per_1000") : header.index(last) + 1]
        assert [row[name] for name in names] == [""] * len(names)


def test_another_threshold_than_the_card_s_corrects_nothing(store, add_slide, call_stamp, tables):
    add_slide(store, "a1", scores(3, 20), call=call_stamp(threshold=0.4), model=MODEL, keep_crops=False)
    slides, _ = tables(store)
    assert slides["a1"]["corrected_per_1000"] == ""
    assert "hold at its threshold 0.5" in slides["a1"]["correction_note"]


def test_report_takes_the_laboratory_s_own_cells(two_donors, tmp_path, read_csv):
    rng = np.random.default_rng(1)
    own = tmp_path / "own.csv"
    with own.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["p_mn", "truth"])
        rows.writerows((float(p), 1) for p in rng.uniform(0.45, 1, 100))
        rows.writerows((float(p), 0) for p in rng.uniform(0, 0.52, 300))
    done = CliRunner().invoke(app, ["report", str(two_donors.paths.root), "--validation", str(own)])
    assert done.exit_code == 0, done.output
    assert "validation: 400 cells, 100 with MN" in done.output
    row = next(row for row in read_csv(two_donors.paths.slides_csv) if row["slide_id"] == "b1")
    assert (row["se_cells"], row["sp_cells"]) == ("100", "300")
    assert "own 400 scored cells" in row["rates_data"]
    assert row["expected_per_1000"] != ""
    again = CliRunner().invoke(app, ["report", str(two_donors.paths.root)])
    assert "every page was up to date" in again.output


def test_scores_unlike_the_validated_ones_are_warned_of(store, add_slide, tmp_path, tables):
    rng = np.random.default_rng(2)
    own = tmp_path / "own.csv"
    lines = [f"{p:.4f},1" for p in rng.uniform(0.9, 1, 200)] + [f"{p:.4f},0" for p in rng.uniform(0, 0.1, 400)]
    own.write_text("\n".join(["p_mn,truth", *lines]) + "\n")
    add_slide(store, "a1", [float(p) for p in rng.uniform(0.3, 0.7, 60)], model=MODEL, keep_crops=False)
    assert CliRunner().invoke(app, ["report", str(store.paths.root), "--validation", str(own)]).exit_code == 0
    slides, donors = tables(Store(store.paths.root))
    assert float(slides["a1"]["score_shift_p"]) < 0.01
    assert "outside the range that the model was validated on" in slides["a1"]["warnings"]
    assert "outside the range that the model was validated on" in donors["D1"]["warnings"]
