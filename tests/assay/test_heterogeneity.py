import numpy as np
import pytest
from scipy.stats import chi2_contingency, fisher_exact

from mnbatch.assay.heterogeneity import LEVEL, compare_slides, fisher_two_sided


@pytest.mark.parametrize("table", [(3, 200, 11, 240), (0, 100, 0, 100), (5, 5, 0, 7), (40, 1000, 41, 900)])
def test_fisher_agrees_with_scipy(table):
    a, n, b, m = table
    wanted = fisher_exact([[a, n - a], [b, m - b]]).pvalue
    assert fisher_two_sided(*table) == pytest.approx(wanted, rel=1e-9)


def test_many_counts_use_chi_squared():
    mnbn, cells = [20, 31, 24], [1000, 1100, 900]
    found = compare_slides(mnbn, cells)
    table = [mnbn, [n - k for k, n in zip(mnbn, cells, strict=True)]]
    assert found.method == "chi-squared test"
    assert found.p_value == pytest.approx(chi2_contingency(table, correction=False).pvalue, rel=1e-9)
    assert found.disagreeing == ()


def test_few_counts_use_random_tables_that_repeat():
    first, again = (compare_slides([1, 0, 4, 2], [150, 160, 140, 150]) for _ in range(2))
    assert first.method == "random tables"
    assert first == again
    assert 0.05 < first.p_value < 0.3


def test_only_the_odd_slide_is_flagged():
    found = compare_slides([12, 10, 60, 11], [1000, 1000, 1000, 1000])
    assert found.disagreeing == (2,)
    assert found.p_value < 1e-6
    assert found.against_others[2] < LEVEL


def test_two_slides_cannot_say_which_is_wrong():
    found = compare_slides([5, 60], [1000, 1000])
    assert found.method == "Fisher's exact test"
    assert found.disagreeing == (0, 1)
    assert found.against_others[0] == found.against_others[1] == found.p_value


def test_one_slide_has_nothing_to_disagree_with():
    assert compare_slides([5], [1000]) is None
    assert compare_slides([5, 0], [1000, 0]) is None
    assert compare_slides([], []) is None


def test_a_slide_without_cells_takes_no_part():
    found = compare_slides([12, 0, 10, 60], [1000, 0, 1000, 1000])
    assert found.disagreeing == (3,)
    assert found.against_others[1] == 1


def test_contradictory_counts_are_refused():
    with pytest.raises(ValueError, match="more MNBN"):
        compare_slides([5, 7], [3, 100])


def test_alike_slides_are_seldom_flagged():
    """At most 1 in 100 donors, whatever the number of slides (fixed seed)."""
    rng = np.random.default_rng(3)
    flagged = sum(bool(compare_slides(rng.binomial(800, 0.02, 4).tolist(), [800] * 4).disagreeing) for _ in range(600))
    assert flagged <= 12
