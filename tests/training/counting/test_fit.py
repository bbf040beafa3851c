"""The fit of the ratios, and the figures of counts, against cases whose answer is known."""

import numpy as np
import pytest
from scipy.special import expit

from mnbatch.errors import TrainingError
from mnbatch.evaluation.count_figures import (
    Counted,
    called_counts,
    confusion,
    error_interval,
    mean_absolute_error,
    weighted_figures,
)
from mnbatch.training.counting.counter_fit import PRIOR, Features, fit_ratio, prior_weights


def features(n: int = 1500, seed: int = 2, informative: bool = True) -> Features:
    """Ten features of which one decides; cells of 20 slides."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(5, 2, (n, 10))
    logit = 2.0 * (vectors[:, 3] - 5) * informative
    counts = 1 + (rng.uniform(size=n) < expit(logit)) * (1 + (rng.uniform(size=n) < expit(logit - 1)))
    groups = np.array([f"s{i % 20}" for i in range(n)], object)
    return Features(vectors, counts.astype(np.int64), groups, np.full(n, 1 / n))


def test_a_ratio_that_follows_one_feature_is_found():
    cells = features()
    ratio = fit_ratio(cells, 2)
    assert ratio.weight.argmax() == 3
    assert ratio.weight[3] == pytest.approx(2.0, abs=0.6)
    assert np.abs(np.delete(ratio.weight, 3)).max() < 0.2
    assert ratio.log_loss < 0.75 * ratio.log_loss_constant
    p = expit(cells.vectors @ ratio.weight + ratio.bias)
    assert p.mean() == pytest.approx((cells.counts >= 2).mean(), abs=0.02)


def test_features_that_say_nothing_do_not_beat_a_constant():
    ratio = fit_ratio(features(400, informative=False), 2)
    assert ratio.log_loss == pytest.approx(ratio.log_loss_constant, rel=0.03)


def test_the_third_ratio_is_fitted_on_cells_with_two_or_more_alone():
    cells = features()
    kept = cells.counts >= 2
    alone = Features(cells.vectors[kept], cells.counts[kept], cells.groups[kept], cells.weights[kept])
    assert np.array_equal(fit_ratio(cells, 3).weight, fit_ratio(alone, 3).weight)


def test_too_few_cells_of_a_number_are_refused_with_the_number():
    cells = features(60)
    few = Features(cells.vectors, np.minimum(cells.counts, 2), cells.groups, cells.weights)
    with pytest.raises(TrainingError, match="Only 0 training cells have 3 or more micronuclei"):
        fit_ratio(few, 3)


def test_weights_give_every_number_its_share_of_the_prior():
    counts = np.array([1] * 10 + [2] * 40 + [3] * 20 + [7] * 30)
    weights = prior_weights(counts)
    assert [weights[np.minimum(counts, 3) == n].sum() for n in (1, 2, 3)] == pytest.approx(PRIOR)
    assert prior_weights(np.array([1, 1, 2])) == pytest.approx(np.array([0.35, 0.35, 0.2]) / 0.9)


def test_figures_of_a_small_table_by_hand():
    counted = Counted.of([0, 0, 1, 2, 3, 7], [0, 1, 1, 1, 3, 2])
    assert confusion(counted).tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1]]
    assert mean_absolute_error(counted.true, counted.called) == pytest.approx(3 / 6)
    found = weighted_figures(counted, np.ones((1, 6)))
    assert found["count_error"][0] == pytest.approx(0.5)
    assert (found["mn_per_1000"][0], found["true_mn_per_1000"][0]) == pytest.approx((8000 / 6, 9000 / 6))
    assert found["mn_ratio"][0] == pytest.approx(8 / 9)
    low, high = error_interval(counted)
    assert 0 <= low < 0.5 < high <= 1


def test_without_a_true_micronucleus_there_is_no_ratio_and_no_infinity():
    found = weighted_figures(Counted.of([0, 0], [0, 2]), np.ones((1, 2)))
    assert np.isnan(found["mn_ratio"][0])
    assert found["mn_per_1000"][0] == 1000


def test_cells_not_called_have_none_whatever_their_ratios():
    ratios = np.array([[0.9, 0.9], [0.9, 0.9], [0.1, 0.9]])
    assert called_counts(np.array([False, True, True]), ratios).tolist() == [0, 3, 1]
