"""Figures agree with scikit-learn and with hand counts."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from mnbatch.errors import TrainingError
from mnbatch.evaluation import metrics


@pytest.fixture
def scored() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.uniform(size=200) < 0.3
    return np.round(rng.normal(labels * 1.0, 1.0), 1), labels  # rounded, so that there are ties


def test_auc_agrees_with_sklearn_with_ties(scored):
    scores, labels = scored
    assert metrics.auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_average_precision_and_f1_agree_with_sklearn(scored):
    scores, labels = scored
    assert metrics.average_precision(scores, labels) == pytest.approx(average_precision_score(labels, scores))
    assert metrics.f1_at(scores, labels, 0.5) == pytest.approx(f1_score(labels, scores >= 0.5))


@pytest.mark.parametrize("label", [True, False])
def test_auc_of_one_class_is_a_clear_error(label):
    with pytest.raises(TrainingError, match="both classes"):
        metrics.auc(np.array([0.1, 0.2]), np.array([label, label]))


def test_confusion_counts_a_cell_at_the_threshold_as_called():
    calls = metrics.confusion(np.array([0.2, 0.5, 0.5, 0.9]), np.array([True, True, False, True]), 0.5)
    assert (calls.true_positive, calls.false_negative, calls.true_negative, calls.false_positive) == (
        2,
        1,
        0,
        1,
    )
    assert calls.sensitivity == pytest.approx(2 / 3)
    assert calls.specificity == 0


def test_bootstrap_interval_covers_the_figure_and_repeats_for_a_seed(scored):
    scores, labels = scored
    first = metrics.bootstrap(metrics.auc, scores, labels, seed=1, resamples=200)
    assert first.low < first.value < first.high
    assert first == metrics.bootstrap(metrics.auc, scores, labels, seed=1, resamples=200)
    # Hanley and McNeil's standard error is about 0.035 here; the interval must be of that order.
    assert 0.08 < first.high - first.low < 0.2


def test_bootstrap_interval_of_a_perfect_classifier_is_a_point():
    labels = np.array([True] * 5 + [False] * 5)
    estimate = metrics.bootstrap(metrics.auc, labels.astype(float), labels, resamples=50)
    assert (estimate.low, estimate.high) == (1.0, 1.0)


def test_threshold_is_the_best_of_all_and_rises_with_the_weight_of_specificity(scored):
    scores, labels = scored

    def gain(threshold: float, weight: float) -> float:
        calls = metrics.confusion(scores, labels, threshold)
        return calls.sensitivity + weight * calls.specificity

    for weight in (0.5, 1.0, 5.0):
        chosen = metrics.weighted_youden_threshold([(scores, labels)], weight)
        assert gain(chosen, weight) == pytest.approx(max(gain(t, weight) for t in np.linspace(-4, 5, 1801)))
    low = metrics.weighted_youden_threshold([(scores, labels)], 0.5)
    assert metrics.weighted_youden_threshold([(scores, labels)], 5.0) > low


def test_threshold_counts_each_set_alike_whatever_its_size():
    small = (np.array([0.3, 0.1]), np.array([True, False]))
    large = (np.array([0.9, 0.7] * 50), np.array([True, False] * 50))
    both = metrics.weighted_youden_threshold([small, large], 1.0)
    swapped = metrics.weighted_youden_threshold([large, small], 1.0)
    assert both == swapped


def test_temperature_recovers_the_one_that_flattened_the_scores():
    rng = np.random.default_rng(0)
    margins = rng.normal(0, 2, 20000)
    labels = rng.uniform(size=20000) < 1 / (1 + np.exp(-margins))
    flattened = 1 / (1 + np.exp(-margins / 4))
    found = metrics.fit_temperature([(flattened, labels)])
    assert found == pytest.approx(0.25, rel=0.05)
    sharpened = metrics.with_temperature(flattened, 0.25)
    assert np.allclose(sharpened, 1 / (1 + np.exp(-margins)), atol=1e-6)
