import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_curve, roc_curve

from mnbatch.evaluation.metrics import auc, bootstrap
from mnbatch.evaluation.performance import Sample, measure, precision_at, reliability, units_of


def sample_of(n=200, seed=0, threshold=0.5, names=None):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 4 == 0
    scores = 1 / (1 + np.exp(-rng.normal(np.where(labels, 1.0, -1.0), 1.0)))
    return Sample(scores, labels, scores >= threshold, units_of(names or [""] * n, "donor"))


def test_figures_by_hand():
    scores = np.array([0.9, 0.8, 0.4, 0.3, 0.2])
    labels = np.array([True, False, True, False, False])
    found = measure(Sample(scores, labels, scores >= 0.5, units_of([""] * 5, "donor")), resamples=50)
    assert found["auc"].value == pytest.approx(5 / 6)
    assert found["average_precision"].value == pytest.approx((1 + 2 / 3) / 2)
    assert found["f1"].value == pytest.approx(0.5)
    assert found["best_f1"].value == pytest.approx(0.8)
    assert found.best_threshold == 0.4
    assert found["precision"].value == pytest.approx(0.5)
    assert found["brier"].value == pytest.approx((0.01 + 0.64 + 0.36 + 0.09 + 0.04) / 5)
    counts = found.confusion
    assert (counts.true_positive, counts.false_negative, counts.true_negative, counts.false_positive) == (1, 1, 2, 1)


def test_sensitivity_and_specificity_have_exact_intervals():
    found = measure(sample_of(), resamples=0)
    counts = found.confusion
    expected = binomtest(counts.true_positive, counts.true_positive + counts.false_negative).proportion_ci()
    assert (found["sensitivity"].low, found["sensitivity"].high) == pytest.approx((expected.low, expected.high))
    assert found["sensitivity"].method.startswith("Clopper-Pearson")


def test_bootstrap_interval_agrees_with_the_plain_one():
    sample = sample_of()
    found = measure(sample, resamples=4000, seed=2)["auc"]
    plain = bootstrap(auc, sample.scores, sample.labels, seed=5, resamples=2000)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=0.01)


def test_stated_prevalence_changes_precision_by_bayes_and_leaves_rates_alone():
    found = measure(sample_of(), prevalence=0.065, resamples=100)
    sensitivity, specificity = found["sensitivity"].value, found["specificity"].value
    expected = 0.065 * sensitivity / (0.065 * sensitivity + 0.935 * (1 - specificity))
    assert found.at("precision", 0.065).value == pytest.approx(expected)
    assert found.at("f1", 0.065).value == pytest.approx(2 * expected * sensitivity / (expected + sensitivity))
    assert found.at("average_precision", 0.065).value < found["average_precision"].value
    again = measure(sample_of(), prevalence=0.25, resamples=0)
    assert again.at("average_precision", 0.25).value == pytest.approx(again["average_precision"].value)


def test_a_set_of_one_class_keeps_what_can_be_said():
    scores = np.array([0.2, 0.7, 0.1])
    labels = np.zeros(3, bool)
    found = measure(Sample(scores, labels, scores >= 0.5, units_of([""] * 3, "donor")), resamples=20, curves=True)
    assert found["auc"].value is None
    assert found["sensitivity"].value is None
    assert found["specificity"].value == pytest.approx(2 / 3)
    assert found.best_threshold is None
    assert found.roc is None


def test_curves_are_those_of_sklearn_inside_their_bands():
    sample = sample_of()
    found = measure(sample, resamples=200, curves=True)
    x, y, _ = roc_curve(sample.labels, sample.scores, drop_intermediate=False)
    assert found.roc.x == pytest.approx(x)
    assert found.roc.y == pytest.approx(y)
    precision, recall, _ = precision_recall_curve(sample.labels, sample.scores)
    assert found.precision_recall.y[::-1] == pytest.approx(precision[:-1])
    assert found.precision_recall.x[::-1] == pytest.approx(recall[:-1])
    middle = np.interp(0.5, found.roc.x, found.roc.y)
    assert found.roc.low[50] <= middle <= found.roc.high[50]


def test_precision_at_a_recall_takes_the_highest_threshold_that_reaches_it():
    true_positive, false_positive = np.array([0.0, 1, 1, 3, 4]), np.array([0.0, 0, 1, 1, 6])
    found = precision_at(np.array([0.0, 0.25, 0.3, 0.75, 1.0]), true_positive, false_positive)
    assert found == pytest.approx([1.0, 1.0, 0.75, 0.75, 0.4])


def test_few_clusters_are_said():
    found = measure(sample_of(names=[f"D{i % 3}" for i in range(200)]), resamples=200)
    assert "only 3 clusters" in found.warning
    assert "3 clusters (donor)" in found["auc"].method


def test_reliability_counts_every_cell_once():
    scores = np.array([0.0, 0.05, 0.1, 0.95, 1.0])
    labels = np.array([False, True, False, True, True])
    bins = reliability(scores, labels)
    assert [part.cells for part in bins] == [2, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    assert bins[0].mean_p == pytest.approx(0.025)
    assert bins[0].observed == 0.5
    assert bins[9].low == pytest.approx(binomtest(2, 2).proportion_ci().low)
    assert bins[5].observed is None
