"""The dossier of a validation: its figures from known counts, its limits, and what it says where data are missing."""

import csv
import json
import re
import shutil

import pytest

from mnbatch.app.dosing_service import dose_out, fit_and_write, make_dosing
from mnbatch.app.validation_service import make_dossier, read_protocol, write_dossier
from mnbatch.assay.acceptance import LIMITS, Measured, judge_limits, parse_protocol
from mnbatch.assay.intervals import clopper_pearson
from mnbatch.errors import UsageError
from mnbatch.results.model_errors import keep_validation
from mnbatch.results.store import Store
from mnbatch.review.queue import ReviewPlan, save_plan
from mnbatch.review.review_import import queues_of, save_decisions
from tests.report.conftest import add_slide
from tests.review.conftest import decide

CURVE = {"g0": (0, 12), "g1": (1, 20), "g2": (2, 36), "g4": (4, 80)}
"""Slide and donor -> Gy, called of 400."""
BLIND = {"b0": 15, "b1": 21, "b3": 54}
TWINS = {"t1": 30, "t2": 40}
"""Slides of one donor T."""
CELLS = 400
TRUTH = {name: (10, 1, 100, k) for k, name in enumerate([*CURVE, *BLIND])}
"""Slide -> cells with a micronucleus, of these not called; cells without one, of these called."""


def scores_of(called):
    return [0.9] * called + [0.1] * (CELLS - called)


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("validated") / "out")
    slides = {name: (called, name) for name, (_, called) in CURVE.items()}
    slides |= {name: (called, name) for name, called in BLIND.items()} | {n: (k, "T") for n, k in TWINS.items()}
    for number, (name, (called, donor)) in enumerate(slides.items()):
        first = 10_000 * number + 1
        add_slide(store, name, scores_of(called), keep_crops=False, first_digest=first, donor=donor, content_key=name)
    return store.paths.root


@pytest.fixture
def out(scored, tmp_path):
    return shutil.copytree(scored, tmp_path / "out")


def give_truth(out, folder):
    """Own scored cells as `TRUTH` has them: the first cells of a slide are called, the last are not."""
    with (folder / "cells.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["cell_id", "truth"])
        for name, (with_mn, missed, free, false) in TRUTH.items():
            called = [f"{name}:d/{name}/cell{i:04d}.tif" for i in range(with_mn - missed + false)]
            others = [f"{name}:d/{name}/cell{CELLS - 1 - i:04d}.tif" for i in range(missed + free - false)]
            table.writerows([cell, int(i < with_mn - missed)] for i, cell in enumerate(called))
            table.writerows([cell, int(i < missed)] for i, cell in enumerate(others))
    keep_validation(Store(out), folder / "cells.csv")


def put_curve(out, folder):
    rows = [f"{name},{name},{dose}" for name, (dose, _) in CURVE.items()]
    (folder / "doses.csv").write_text("\n".join(["slide,donor,dose_gy", *rows]))
    fit_and_write(out, folder / "curve.json", doses=folder / "doses.csv")
    dose_out(out, make_dosing(str(folder / "curve.json")))


def test_every_part_without_data_says_so(out, tmp_path):
    dossier = make_dossier(out)
    (tmp_path / "small.toml").write_text("[limits]\nsensitivity = 0.5\ndose_error_gy = 1\n")
    judged = make_dossier(out, protocol=tmp_path / "small.toml")
    assert [one.verdict for one in judged.judged] == ["no data", "no data"]
    assert not judged.accepted
    assert not dossier.accepted
    page = write_dossier(dossier, out, tmp_path / "dossier").read_text(encoding="utf-8")
    for missing in ("No own scored cells", "no second measurement", "No cell was reviewed", "No table of blind doses"):
        assert missing in page
    assert "No acceptance limits were set" in page
    assert "no statement of conformity" in page
    assert dossier.figures.keys() == LIMITS.keys()


def test_errors_by_slide_are_the_counted_ones(out, tmp_path):
    give_truth(out, tmp_path)
    errors = make_dossier(out).errors
    found = {row.slide: row.counts for row in errors.slides}
    assert found.keys() == TRUTH.keys()
    for name, (with_mn, missed, free, false) in TRUTH.items():
        counts = found[name]
        assert (counts.n_mn, counts.right, counts.free, counts.spared) == (
            with_mn,
            with_mn - missed,
            free,
            free - false,
        )
    first = errors.slides[0]
    assert first.sensitivity.interval == clopper_pearson(9, 10)
    assert errors.all_se.value == pytest.approx(0.9)
    assert errors.new_se.low < errors.new_se.value < errors.new_se.high
    # One new slide varies more than the mean of many is unsure.
    assert errors.range_sp[0] < errors.new_sp.low
    assert make_dossier(out).figures["specificity_worst_slide"].value == pytest.approx(0.94)


def test_replicates_and_a_second_measurement(out, tmp_path):
    second = Store(tmp_path / "again")
    for number, (name, called) in enumerate({"t1": 33, "t2": 34, "b0": 18}.items()):
        add_slide(
            second, name, scores_of(called), keep_crops=False, first_digest=10_000 * number + 1, content_key="new"
        )
    found = make_dossier(out, repeat=second.paths.root).repeatability
    (twins,) = found.replicates
    assert (twins.donor, twins.df) == ("T", 1)
    assert twins.chi2 == pytest.approx(50 / (35 * (1 - 35 / 400)))  # sum (k - 35)^2 / (n p (1 - p))
    assert [one.difference for one in found.repeats] == pytest.approx([7.5, 7.5, -15])
    assert found.sd.value == pytest.approx(7.5)
    assert found.bias.value == pytest.approx(0)
    assert found.bias.low < 0 < found.bias.high
    # Cells of the same names: called in one and not in the other are 3, 3 and 6.
    assert (found.same_call.right, found.same_call.total) == (3 * CELLS - 12, 3 * CELLS)
    assert len(found.unmatched) == 6
    assert not any(one.same_files for one in found.repeats)
    with pytest.raises(UsageError, match="OUT itself"):
        make_dossier(out, repeat=out)


def test_a_measurement_by_another_threshold_is_no_repeat(out, tmp_path):
    from tests.stamps import call_stamp

    second = Store(tmp_path / "again")
    add_slide(second, "t1", scores_of(30), keep_crops=False, call=call_stamp(0.7))
    found = make_dossier(out, repeat=second.paths.root).repeatability
    assert found.repeats == ()
    assert any(line.startswith("t1: the two measurements were scored by") for line in found.unmatched)


def test_scorers(out):
    store = Store(out)
    save_plan(store.paths, ReviewPlan(band=0.01, sample=0.1, least_band=20, least_sample=100))
    (queue,) = queues_of(store, {"b1": None}).values()
    # The first twelve called cells are confirmed; the second person takes one of them for none.
    for who, right in (("Ada", 12), ("Ben", 11)):

        def word(cell_id: str, right: int = right) -> str:
            return "mn" if int(cell_id[-8:-4]) < right else "not_mn"

        save_decisions(store, decide(queue, word, reviewer=who), "test")
    found = make_dossier(out).scorers
    (slide,) = found.slides
    assert slide.complete
    assert (slide.confirmed.right, slide.confirmed.total, slide.unsure) == (11, 20, 1)
    assert slide.missed.value == 0
    assert 0 < slide.missed.high < 0.05
    (pair,) = found.pairs
    assert (pair.cells, pair.cells - pair.agreed) == (queue.drawn, 1)


def test_blind_doses(out, tmp_path):
    put_curve(out, tmp_path)
    (tmp_path / "blind.csv").write_text("donor;dose_gy\nb0;0\nb1;1,0\nb3;3\ng2;2\nlost;1\n")
    found = make_dossier(out, blind=tmp_path / "blind.csv")
    doses = found.doses
    assert [s.donor for s in doses.samples] == ["b0", "b1", "b3", "lost"]
    assert doses.not_blind == ("g2: its slides are in the calibration curve",)
    estimates = {s.donor: s.estimate for s in doses.samples}
    assert estimates["lost"] is None
    assert estimates["b1"] == pytest.approx(1, abs=0.5)
    assert estimates["b3"] == pytest.approx(3, abs=0.5)
    assert (doses.held.total, doses.missed_exposures.total) == (4, 3)
    # The lost sample is exposed and not found, its interval holds nothing, and no largest error is given.
    assert doses.missed_exposures.right >= 1
    assert doses.held.right <= 3
    assert found.figures["dose_error_gy"].value is None
    assert "no such donor" in write_dossier(found, out, tmp_path / "dossier").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("donor,dose\nb0,1\n", "has not the columns"),
        ("donor,dose_gy\nb0,1\nb0,2\n", "line 3.*twice"),
        ("donor,dose_gy\nb0,\n", "line 2"),
        ("dose_gy,donor\n1,#REF!\n", "line 2.*spreadsheet's error"),
        ("donor,dose_gy\n#REF!,1\n", "line 2 begins with #"),
        ("donor,dose_gy\n", "no sample"),
    ],
)
def test_tables_of_doses_that_cannot_be_used(out, tmp_path, table, message):
    (tmp_path / "blind.csv").write_text(table)
    with pytest.raises(UsageError, match=message):
        make_dossier(out, blind=tmp_path / "blind.csv")


def test_limits_are_judged_by_whole_intervals_unless_the_protocol_says_otherwise():
    figures = {"sensitivity": Measured(0.85, 0.78, 0.9), "repeat_sd_per_1000": Measured(4.0), "slides": Measured(5.0)}
    limits = "[limits]\nsensitivity = 0.8\nrepeat_sd_per_1000 = 3\nslides = 5\ndose_error_gy = 0.5\n"
    verdicts = {one.name: one.verdict for one in judge_limits(parse_protocol(limits), figures)}
    assert verdicts == {
        "slides": "met",
        "sensitivity": "open",
        "repeat_sd_per_1000": "not met",
        "dose_error_gy": "no data",
    }
    by_value = judge_limits(parse_protocol('judge = "value"\n' + limits), figures)
    assert {one.name: one.verdict for one in by_value}["sensitivity"] == "met"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[limits]\nsensitivty = 0.8\n", "did you mean sensitivity"),
        ("[limits]\nsensitivity = nan\n", "no number"),
        ("[limits]\nsensitivity = true\n", "no number"),
        ('judge = "often"\n', "interval or value"),
        ("[study]\ntitle = 3\n", "no text"),
        ("limits = 3\n", "are tables"),
        ("[limits\n", "not valid TOML"),
    ],
)
def test_protocols_that_cannot_be_used(tmp_path, content, message):
    (tmp_path / "p.toml").write_text(content)
    with pytest.raises(UsageError, match=re.escape(message)):
        read_protocol(tmp_path / "p.toml")


def test_page_and_json_have_the_same_verdicts_and_no_dossier_goes_into_out(out, tmp_path):
    give_truth(out, tmp_path)
    (tmp_path / "p.toml").write_text(
        '[study]\ntitle = "Trial <script>"\n[limits]\nslides = 6\nsensitivity = 0.99\nspecificity = 0.5\n'
    )
    dossier = make_dossier(out, protocol=tmp_path / "p.toml")
    page = write_dossier(dossier, out, tmp_path / "dossier").read_text(encoding="utf-8")
    # A number is not broken into two lines.
    assert re.search(r'<td class="whole"><bdi>0\.\d+</bdi></td>', page)
    content = json.loads((tmp_path / "dossier" / "validation.json").read_text())
    assert [one["verdict"] for one in content["limits"]] == ["met", "not met", "met"]
    assert "2 met, 1 not met" in page
    # Paper and phones leave the bars out: heads and cells alike, or numbers would be under other heads.
    table = page[page.index("Errors of each slide") :].split("</table>")[0]
    rows = [re.findall(r'<t[hd][^>]*?(?: class="(\w+)")?>', row) for row in table.split("<tr>")[1:]]
    assert len({tuple(name == "wide" for name in row) for row in rows}) == 1
    assert rows[0].count("wide") == 2
    assert "<script>" not in page.split("<script>", 1)[0].split("<h1>")[-1]
    assert "Trial &lt;script&gt;" in page
    with pytest.raises(UsageError, match="is in OUT"):
        write_dossier(dossier, out, out / "dossier")
