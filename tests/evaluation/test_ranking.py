import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from mnbatch.evaluation.performance import Ranking, area_under_roc, average_precision, best_f1, prevalence_weights


@pytest.fixture
def cells():
    rng = np.random.default_rng(0)
    labels = rng.random(300) < 0.3
    # Rounded, so that many scores are tied.
    return np.round(rng.normal(labels * 1.0, 1.0), 1), labels, rng.integers(0, 4, 300).astype(float)


def test_auc_and_average_precision_agree_with_sklearn_with_ties_and_weights(cells):
    scores, labels, weights = cells
    for used in (np.ones(300), weights):
        counts = Ranking.of(scores, labels).counts(used)
        assert area_under_roc(*counts) == pytest.approx(roc_auc_score(labels, scores, sample_weight=used), rel=1e-12)
        assert average_precision(*counts) == pytest.approx(
            average_precision_score(labels, scores, sample_weight=used), rel=1e-12
        )


def test_best_f1_is_the_largest_over_all_thresholds(cells):
    scores, labels, _ = cells
    expected = max(f1_score(labels, scores >= level) for level in np.unique(scores))
    counts = Ranking.of(scores, labels).counts(np.ones(300))
    assert best_f1(*counts) == pytest.approx(expected, rel=1e-12)


def test_rows_of_weights_are_independent(cells):
    scores, labels, weights = cells
    ranking = Ranking.of(scores, labels)
    both = area_under_roc(*ranking.counts(np.stack([np.ones(300), weights])))
    assert both[0] == area_under_roc(*ranking.counts(np.ones(300)))
    assert both[1] == area_under_roc(*ranking.counts(weights))


def test_without_one_class_there_is_no_auc():
    counts = Ranking.of(np.array([0.1, 0.2]), np.array([False, False])).counts(np.ones(2))
    assert np.isnan(area_under_roc(*counts))
    assert np.isnan(average_precision(*counts))
    assert np.isnan(best_f1(*counts))


def test_prevalence_weights_equal_a_data_set_resampled_to_that_prevalence(cells):
    """Each cell without MN repeated until the share is 6.5 % gives the same AP as the weights do."""
    scores, labels, _ = cells
    positives, negatives = int(labels.sum()), int((~labels).sum())
    # Repeat cells so that positives : negatives is exactly 13 : 187 (6.5 %).
    repeats = np.where(labels, 13 * negatives, 187 * positives)
    common = np.gcd.reduce(repeats)
    explicit_scores, explicit_labels = np.repeat(scores, repeats // common), np.repeat(labels, repeats // common)
    assert explicit_labels.mean() == pytest.approx(0.065)
    weights = prevalence_weights(np.ones(300), labels, 0.065)
    found = average_precision(*Ranking.of(scores, labels).counts(weights))
    assert found == pytest.approx(average_precision_score(explicit_labels, explicit_scores), rel=1e-9)
    assert (weights * labels).sum() == pytest.approx(0.065)
    assert weights.sum() == pytest.approx(1)
