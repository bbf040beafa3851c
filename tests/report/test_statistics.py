"""The statistics in tables and pages, on stores made through the store's own writer."""

import csv

import numpy as np
import pytest
from typer.testing import CliRunner

from mnbatch.cli import app
from mnbatch.report.build import ReportOptions, build_reports
from mnbatch.report.tables import DONORS, SLIDES
from mnbatch.results.records import ModelStamp, RateStamp, ValidationStamp
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


def test_the_corrected_frequency_stands_beside_the_counted_one(two_donors, tables):
    slides, donors = tables(two_donors)
    row = slides["b1"]
    assert (row["mnbn_cells"], row["mnbn_per_1000"]) == ("4", "80.0")
    assert float(row["corrected_per_1000"]) == pytest.approx(80 * 74 / 62, abs=1e-3)
    assert float(row["corrected_ci_low"]) < 80 < float(row["corrected_ci_high"])
    assert [row[c] for c in ("se_right", "se_cells", "sp_right", "sp_cells")] == ["62", "74", "39", "39"]
    assert row["correction_note"] == ""
    assert (row["expected_per_1000"], row["score_shift_p"]) == ("", "")
    assert "holds no validation scores" in row["expected_note"]
    assert donors["D2"]["corrected_per_1000"] == row["corrected_per_1000"]
    text = page(two_donors, "D2")
    assert (
        "Corrected for classifier error (Se 62/74, Sp 39/39, the model card&#39;s &#34;validation, labelled&#34;)"
        in text
    )


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


def test_controls_of_the_sheet_are_the_background(two_donors, tables):
    literature, _ = tables(two_donors)
    assert (literature["a1"]["background"], literature["a1"]["background_per_1000"]) == ("literature", "6.5")
    slides, donors = tables(two_donors, {"b1": {"donor": "D2", "control": "yes"}})
    assert (slides["b1"]["control"], slides["b1"]["background"], slides["b1"]["background_p"]) == (
        "yes",
        "is a control",
        "",
    )
    assert (slides["a1"]["background"], slides["a1"]["background_per_1000"]) == ("control", "80.0")
    assert donors["D1"]["background"] == "control"
    assert float(slides["a3"]["background_p"]) < 0.01 < float(slides["a1"]["background_p"])
    assert "Own control: 1 slide of 1 donor" in page(two_donors, "D1")
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
