import pytest
from scipy.stats import poisson

from mnbatch.dosimetry.detection_limits import compare_with_background, pool_controls


def test_without_controls_the_literature_is_compared_with():
    found = compare_with_background(15, 1000, None)
    assert (found.source, found.per_1000) == ("literature", 6.5)
    assert found.p_greater == pytest.approx(poisson.sf(14, 6.5))
    assert poisson.sf(found.limits.decision_threshold, 6.5) <= 0.05
    assert found.above
    assert not compare_with_background(9, 1000, None).above
    assert found.detection_limit_per_1000 == pytest.approx(found.limits.detection_limit)


def test_controls_are_pooled_by_donor_and_their_spread_is_kept():
    control = pool_controls([[(4, 500), (6, 500)], [(20, 1000)], [(0, 0)]])
    assert (control.mnbn_cells, control.bn_cells, control.slides, control.donors) == (30, 2000, 4, 2)
    assert (control.low, control.high, control.per_1000) == (10, 20, 15)
    assert pool_controls([]) is None
    assert pool_controls([[(0, 0)]]) is None


def test_a_small_control_makes_a_cautious_comparison():
    small, large = pool_controls([[(3, 200)]]), pool_controls([[(150, 10_000)]])
    cautious, certain = (compare_with_background(30, 1000, control) for control in (small, large))
    assert cautious.source == "control"
    assert cautious.p_greater > certain.p_greater
    assert (cautious.above, certain.above) == (False, True)
    assert certain.above == (certain.p_greater <= 0.05)


def test_a_count_of_zero_is_never_above():
    assert not compare_with_background(0, 200, None).above
    assert not compare_with_background(0, 200, pool_controls([[(0, 500)]])).above
