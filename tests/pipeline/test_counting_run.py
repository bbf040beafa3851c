"""Runs with a model that counts, with one that answers yes or no, with both, and results from before there were any."""

import csv
import json
import re

import pytest

from mnbatch.assay.mn_counts import NOT_COUNTED
from mnbatch.pipeline.run import run
from mnbatch.report.build import ReportOptions, build_reports
from mnbatch.results.store import Store

COUNTS = ("p_0", "p_1", "p_2", "p_3plus", "expected_mn", "n_mn")
MN = ("micronuclei", "mn_per_1000_bn", "mn_ci_low", "mn_ci_high", "C0", "C1", "C2", "C3plus")


def rows(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def cells(out):
    return [row for path in sorted(out.glob("slides/*/cells.csv")) for row in rows(path)]


def pages(out):
    return {
        "batch": (out / "index.html").read_text(),
        "slide": next(iter(sorted(out.glob("slides/*/index.html")))).read_text(),
        "donor": next(iter(sorted(out.glob("donors/*/index.html")))).read_text(),
    }


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


KNOWN = []


@pytest.fixture
def half(settings, tmp_path):
    """The threshold that calls half of the cells: random weights give all cells nearly one score."""
    if not KNOWN:
        run(settings(out=tmp_path / "first"))
        scores = sorted(float(row["p_mn"]) for row in cells(tmp_path / "first"))
        KNOWN.append((scores[11] + scores[12]) / 2)
    return KNOWN[0]


def test_a_counting_model_calls_the_same_cells_and_counts_them(settings, models, half, tmp_path, out):
    run(settings(out=tmp_path / "plain", threshold=half))
    run(settings(model=str(models["counting"]), threshold=half))
    plain, counted = cells(tmp_path / "plain"), cells(out)
    assert {row["mn"] for row in plain} == {"0", "1"}
    assert [row["p_mn"] for row in plain] == [row["p_mn"] for row in counted]
    assert [row["mn"] for row in plain] == [row["mn"] for row in counted]
    assert len({row["n_mn"] for row in counted}) > 2
    for row in counted:
        p = [float(row[name]) for name in COUNTS[:4]]
        assert sum(p) == pytest.approx(1, abs=1e-5)
        assert sum(p[1:]) == pytest.approx(float(row["p_mn"]), abs=1e-5)
        assert float(row["expected_mn"]) == pytest.approx(p[1] + 2 * p[2] + 3.5 * p[3], abs=1e-4)
        assert (int(row["n_mn"]) > 0) == (row["mn"] == "1")


def test_tables_add_up_to_the_cells_and_pages_show_the_frequency(settings, models, half, out):
    run(settings(model=str(models["counting"]), threshold=half))
    slides, donors = rows(out / "slides.csv"), rows(out / "donors.csv")
    counts = [int(row["n_mn"]) for row in cells(out)]
    for table in (slides, donors):
        assert sum(int(row["micronuclei"]) for row in table) == sum(counts)
        for k, name in enumerate(("C0", "C1", "C2", "C3plus")):
            assert sum(int(row[name]) for row in table) == counts.count(k)
        for row in table:
            assert float(row["mn_per_1000_bn"]) == pytest.approx(1000 * int(row["micronuclei"]) / int(row["bn_cells"]))
            assert float(row["mn_ci_low"]) <= float(row["mn_per_1000_bn"]) < float(row["mn_ci_high"])
            assert int(row["bn_cells"]) - int(row["C0"]) == int(row["mnbn_cells"])
            assert row["mn_reason"] == ""
    found = pages(out)
    assert f"<strong>{float(slides[0]['mn_per_1000_bn']):.1f}</strong> MN per 1000 BN cells" in found["slide"]
    assert f"<strong>{float(donors[0]['mn_per_1000_bn']):.1f}</strong> MN per 1000 BN cells" in found["donor"]
    assert re.search(rf"<dt>MN counted</dt><dd>{sum(counts)}<small>by the model", found["batch"])
    summary = json.loads(next(iter(sorted(out.glob("slides/*/summary.json")))).read_text())
    assert summary["mn"]["micronuclei"] == int(slides[0]["micronuclei"])


def assert_nothing_is_counted(out):
    for row in cells(out):
        assert all(row[name] == "" for name in COUNTS)
    for table in (rows(out / "slides.csv"), rows(out / "donors.csv")):
        for row in table:
            assert all(row[name] == "" for name in MN)
            assert row["mn_reason"] == NOT_COUNTED
            assert row["mnbn_per_1000"] != ""
    found = pages(out)
    assert "MN frequency not available: the model gives yes or no" in found["slide"]
    assert "MN frequency not available: the model gives yes or no" in found["donor"]
    assert "<dt>MN counted</dt><dd>not available" in found["batch"]
    assert json.loads(next(iter(out.glob("slides/*/summary.json"))).read_text())["mn"] is None


def test_a_yes_no_model_leaves_every_count_empty_and_says_why(settings, out):
    run(settings())
    assert_nothing_is_counted(out)


def test_results_from_before_there_were_counts_are_reported_without_any(settings, out):
    run(settings())
    for folder in out.glob("slides/*"):
        scores = folder / "g1/scores.csv"
        with scores.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file))
        end = lines[0].index("jpeg_bytes") + 1  # all later columns are younger
        with scores.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(line[:end] for line in lines)
        record = json.loads((folder / "record.json").read_text())
        del record["model"]["mean_3plus"], record["checksum"], record["checksums"]
        record["sizes"]["scores.csv"] = scores.stat().st_size
        (folder / "record.json").write_text(json.dumps(record))
        summary = json.loads((folder / "summary.json").read_text())
        del summary["mn"], summary["mn_reason"]
        (folder / "summary.json").write_text(json.dumps(summary))
    made = build_reports(Store(out), ReportOptions())
    assert made.slides_built == 4
    assert all(slide.status == "done" for slide in made.slides)
    assert_nothing_is_counted(out)
    again = run(settings())
    assert (again.scored, len(again.kept)) == ([], 4)


def test_a_donor_with_slides_of_both_kinds_has_no_mn_frequency(settings, models, export, new_slide, out):
    new_slide(export / "D3/A", seed=50, stain="fluorescence")
    new_slide(export / "D3/B", seed=51, stain="giemsa")
    run(settings(model=str(models["mixed"])))
    slides = {(row["donor"], row["slide"]): row for row in rows(out / "slides.csv")}
    donors = {row["donor"]: row for row in rows(out / "donors.csv")}
    assert slides["D3", "A"]["C0"] != ""
    assert slides["D3", "B"]["mn_reason"] == NOT_COUNTED
    assert donors["D1"]["micronuclei"] != ""
    assert all(donors["D3"][name] == "" for name in MN)
    assert donors["D3"]["mn_reason"].startswith("not available: 1 of 2 slides have no counts (")
    assert "1 of 6 slides without counts" in (out / "index.html").read_text()


def test_a_resumed_run_writes_the_counts_of_an_uninterrupted_one(settings, models, out, tmp_path, without_times):
    run(settings(model=str(models["counting"]), out=tmp_path / "whole"))
    run(settings(model=str(models["counting"])))
    torn = sorted(out.glob("slides/*/g1/scores.csv"))[1]
    torn.write_bytes(torn.read_bytes()[:-40])
    resumed = run(settings(model=str(models["counting"])))
    assert (len(resumed.scored), len(resumed.kept)) == (1, 3)
    again, whole = rows(out / "slides.csv"), rows(tmp_path / "whole/slides.csv")
    assert [row | {"scored_at": ""} for row in again] == [row | {"scored_at": ""} for row in whole]
    assert cells(out) == cells(tmp_path / "whole")


def test_a_counting_model_in_place_of_a_yes_no_model_scores_anew_and_a_threshold_only_calls(
    settings, models, half, out
):
    run(settings())
    first = run(settings(model=str(models["counting"]), threshold=half))
    assert len(first.scored) == 4
    before = rows(out / "slides.csv")
    second = run(settings(model=str(models["counting"]), threshold=1e-6))
    assert (second.scored, len(second.called)) == ([], 4)
    after = rows(out / "slides.csv")
    assert {row["C0"] for row in after} == {"0"}
    assert sum(int(row["micronuclei"]) for row in after) > sum(int(row["micronuclei"]) for row in before)
