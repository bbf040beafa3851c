import numpy as np
import pytest
from scipy.stats import binomtest

from mnbatch.errors import TrainingError
from mnbatch.evaluation.metrics import auc
from mnbatch.evaluation.paired_tests import delong, mcnemar


def test_delong_by_hand():
    """Three cells with MN (scores x), two without (y); components counted on paper.

    First model: x = 3, 5, 1; y = 2, 0. V10 = (1, 1, 1/2); V01 = (2/3, 1). AUC 5/6.
    Second model: x = 1, 2, 3; y = 2, 4. V10 = (0, 1/4, 1/2); V01 = (1/2, 0). AUC 1/4.
    Differences: V10 (1, 3/4, 0), variance 13/48; V01 (1/6, 1), variance 25/72. Sum: 13/144 + 25/144 = 38/144.
    """
    labels = np.array([True, True, True, False, False])
    found = delong(np.array([3.0, 5, 1, 2, 0]), np.array([1.0, 2, 3, 2, 4]), labels)
    assert found.auc_first == pytest.approx(5 / 6)
    assert found.auc_second == pytest.approx(1 / 4)
    assert found.standard_error == pytest.approx(np.sqrt(38 / 144), rel=1e-12)
    assert found.z == pytest.approx((5 / 6 - 1 / 4) / np.sqrt(38 / 144), rel=1e-12)
    assert found.p_value == pytest.approx(0.256151, abs=1e-5)


def direct_delong_error(first, second, labels):
    """The 1988 formulas, pair by pair."""

    def components(scores):
        x, y = scores[labels], scores[~labels]
        kernel = (x[:, None] > y[None]) + 0.5 * (x[:, None] == y[None])
        return kernel.mean(axis=1), kernel.mean(axis=0)

    parts = [components(first), components(second)]
    s10 = np.cov(np.stack([p[0] for p in parts]))
    s01 = np.cov(np.stack([p[1] for p in parts]))
    covariance = s10 / labels.sum() + s01 / (~labels).sum()
    contrast = np.array([1, -1])
    return np.sqrt(contrast @ covariance @ contrast)


def test_fast_delong_equals_the_original_formulas_with_ties():
    rng = np.random.default_rng(1)
    labels = rng.random(80) < 0.4
    first = np.round(rng.normal(labels, 1), 1)
    second = np.round(first + rng.normal(0, 0.7, 80), 1)
    found = delong(first, second, labels)
    assert found.standard_error == pytest.approx(direct_delong_error(first, second, labels), rel=1e-10)
    assert found.auc_first == pytest.approx(auc(first, labels), rel=1e-12)


def test_delong_rejects_a_true_null_about_as_often_as_it_should():
    rng = np.random.default_rng(7)
    labels = np.arange(120) % 2 == 0
    rejected = 0
    for _ in range(400):
        common = rng.normal(labels * 1.0, 1.0)
        found = delong(common + rng.normal(0, 0.5, 120), common + rng.normal(0, 0.5, 120), labels)
        rejected += found.p_value < 0.05
    assert 0.02 < rejected / 400 < 0.09


def test_the_same_scores_differ_by_nothing():
    scores, labels = np.array([0.1, 0.4, 0.3, 0.9]), np.array([False, True, False, True])
    found = delong(scores, scores, labels)
    assert (found.difference, found.p_value) == (0.0, 1.0)


def test_perfect_against_perfectly_wrong_has_no_error_and_p_0():
    labels = np.array([False, False, True, True])
    found = delong(np.array([1.0, 2, 3, 4]), np.array([4.0, 3, 2, 1]), labels)
    assert (found.difference, found.p_value) == (1.0, 0.0)


def test_delong_needs_two_cells_of_each_class():
    with pytest.raises(TrainingError, match="two cells of each class"):
        delong(np.array([0.1, 0.2, 0.3]), np.array([0.1, 0.2, 0.3]), np.array([True, False, False]))


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (7, 7), (1, 9), (12, 3), (0, 5)])
def test_mcnemar_is_the_binomial_test_of_the_discordant_cells(only_first, only_second):
    labels = np.ones(only_first + only_second + 4, bool)
    first, second = labels.copy(), labels.copy()
    second[:only_first] = False
    first[only_first : only_first + only_second] = False
    first[-1] = second[-1] = False  # wrong together: does not count
    found = mcnemar(first, second, labels)
    both = only_first + only_second
    assert (found.first_right, found.second_right) == (only_first, only_second)
    assert found.p_value == pytest.approx(binomtest(only_first, both).pvalue if both else 1.0)
