"""Cells of a review queue were drawn by their scores: each stands for 1 / its probability cells."""

import csv
import json

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from mnbatch.cli.evaluate import summary_line
from mnbatch.evaluation.evaluation_page import render_page
from mnbatch.evaluation.evaluation_records import Request
from mnbatch.evaluation.evaluation_run import evaluate
from mnbatch.evaluation.evaluation_tables import metrics_csv, metrics_json, scores_csv
from mnbatch.evaluation.performance import WEIGHTED, Sample, measure, reliability, units_of

TABLES = (metrics_csv, metrics_json, scores_csv, render_page)


def run(labelled, models, **options):
    base = {"model": str(models["one"]), "data": labelled, "device": "cpu", "threads": 1, "bootstrap": 50}
    return evaluate(Request(**base | options))


def with_columns(labelled, **columns):
    """The table with further columns, values by line."""
    rows = list(csv.reader(labelled.open()))
    rows[0] += list(columns)
    for number, row in enumerate(rows[1:]):
        row += [str(values[number]) for values in columns.values()]
    with labelled.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


def drawn_sample(n=60, seed=4):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3 == 0
    scores = 1 / (1 + np.exp(-rng.normal(np.where(labels, 0.8, -0.8), 1.2)))
    called = scores >= 0.5
    return Sample(scores, labels, called, units_of([""] * n, "donor"), np.where(called, 1.0, 8.0))


def repeated(sample):
    """Each cell as often as it stands for others."""
    often = sample.weights.astype(int)
    scores, labels, called = (np.repeat(v, often) for v in (sample.scores, sample.labels, sample.called))
    return Sample(scores, labels, called, units_of([""] * len(labels), "donor"))


def test_figures_are_those_of_the_cells_that_are_stood_for():
    sample = drawn_sample()
    found, of_all = (measure(s, prevalence=0.1, resamples=0, curves=True) for s in (sample, repeated(sample)))
    for figure in of_all.figures:
        same = next(f for f in found.figures if (f.name, f.prevalence) == (figure.name, figure.prevalence))
        assert same.value == pytest.approx(figure.value), figure.name
    weighted = {"sample_weight": sample.weights}
    assert found["auc"].value == pytest.approx(roc_auc_score(sample.labels, sample.scores, **weighted))
    assert found["brier"].value == pytest.approx(brier_score_loss(sample.labels, sample.scores, **weighted))
    expected = average_precision_score(sample.labels, sample.scores, **weighted)
    assert found["average_precision"].value == pytest.approx(expected)
    assert found.roc.y == pytest.approx(of_all.roc.y)
    assert found.best_threshold == of_all.best_threshold
    assert found.share_with_mn == pytest.approx(of_all.share_with_mn)
    assert (found.cells, found.stood_for.cells) == (60, of_all.cells)
    assert found.stood_for.false_negative == of_all.confusion.false_negative
    bins = zip(reliability(sample.scores, sample.labels, weights=sample.weights), of_all_bins(sample), strict=True)
    for part, same in bins:
        assert (part.mean_p, part.observed) == pytest.approx((same.mean_p, same.observed))


def of_all_bins(sample):
    every = repeated(sample)
    return reliability(every.scores, every.labels)


def test_intervals_are_of_the_bootstrap_and_none_where_resamples_do_not_differ():
    found = measure(drawn_sample(), resamples=200)
    assert found["sensitivity"].low < found["sensitivity"].value < found["sensitivity"].high
    assert found["sensitivity"].method == f"bootstrap over cells, stratified by class; {WEIGHTED}"
    scores, labels = np.array([0.9, 0.8, 0.3, 0.1]), np.array([True, True, False, False])
    weights = np.array([1.0, 1.0, 8.0, 8.0])
    perfect = measure(Sample(scores, labels, scores > 0.5, units_of([""] * 4, "donor"), weights), resamples=50)
    assert (perfect["sensitivity"].value, perfect["sensitivity"].low) == (1.0, None)
    assert perfect["sensitivity"].method.startswith("no interval: ")


def test_bins_of_different_weights_have_no_exact_interval():
    scores, labels = np.array([0.91, 0.92, 0.11, 0.12]), np.array([True, False, False, True])
    bins = reliability(scores, labels, weights=np.array([1.0, 3.0, 5.0, 5.0]))
    assert (bins[9].observed, bins[9].low, bins[9].high) == (0.25, None, None)
    assert bins[1].low is not None


def test_a_queue_is_weighted_everywhere_and_said(labelled, model_directories):
    plain = run(labelled, model_directories)
    chances = np.where(np.argsort(np.argsort(plain.scored.scores)) % 3 == 0, 1.0, 0.125)
    with_columns(labelled, inclusion_probability=chances)
    found = run(
        labelled,
        model_directories,
        group_by="slide",
        against=str(model_directories["two"]),
        masks=labelled.parent / "masks",
    )
    weights = 1 / chances
    labels = np.array([cell.has_mn for cell in found.data.cells])
    brier = brier_score_loss(labels, found.scored.scores, sample_weight=weights)
    assert found.overall["brier"].value == pytest.approx(brier)
    assert found.overall["brier"].value != pytest.approx(plain.overall["brier"].value)
    assert all(WEIGHTED in figure.method for figure in found.overall.figures if figure.low is not None)
    assert all(WEIGHTED in f.method for g in found.groups for f in g.measured.figures if f.value is not None)
    standing = f"24 scored cells stand for {weights.sum():.0f}, {int((weights > 1).sum())} of them"
    assert standing in found.warnings[0]
    assert (found.comparison.delong, found.comparison.mcnemar, found.pointing) == (None, None, ())
    assert any("DeLong's and McNemar's tests, the pointing game" in warning for warning in found.warnings)
    assert f"weighted, standing for {weights.sum():.0f} cells" in summary_line(found)
    content = json.loads(metrics_json(found))
    assert content["overall"]["stands_for"]["cells"] == weights.sum()
    assert sum(content["overall"]["confusion"].values()) == weights.sum()
    assert sum(content["overall"]["confusion_as_labelled"].values()) == 24
    page = render_page(found).decode()
    assert standing in page
    assert "DeLong’s and McNemar’s tests are not given" in page
    assert "Clopper" not in page + metrics_csv(found).decode()
    assert scores_csv(found).decode().splitlines()[0].endswith(",inclusion_probability")


def test_probabilities_of_one_change_nothing(labelled, model_directories):
    before = [made(run(labelled, model_directories)) for made in TABLES]
    with_columns(labelled, inclusion_probability=["1.0", "", "1"] * 8)
    assert [made(run(labelled, model_directories)) for made in TABLES] == before


def test_cells_that_were_picked_and_not_drawn_are_in_no_figure(labelled, model_directories):
    strata = ["called"] * 12 + ["rest"] * 8 + ["outside"] * 4
    with_columns(labelled, stratum=strata, inclusion_probability=[1] * 12 + [0.25] * 8 + [""] * 4)
    found = run(labelled, model_directories)
    assert (found.overall.cells, found.overall.stood_for.cells) == (20, 44)
    assert {why.split(",")[0] for _, why in found.not_scored} == {"it was picked for its score"}
    assert any(warning.startswith("4 cells were picked for their scores") for warning in found.warnings)
    assert not any("could not be scored" in warning for warning in found.warnings)


def test_a_review_of_called_cells_alone_is_said(labelled, model_directories):
    with_columns(labelled, stratum=["called"] * 20 + ["band"] * 4, inclusion_probability=[1] * 24)
    assert any("none is from the rest of its slide" in warning for warning in run(labelled, model_directories).warnings)
