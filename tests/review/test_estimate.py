"""The reviewed frequency and its interval, against scipy and by simulation."""

import numpy as np
import pytest
from scipy.stats import hypergeom

from mnbatch.review.estimate import Tally, estimate, hypergeometric_limits


def tally(stratum, size, looked, mn, unsure=0, not_scorable=0, drawn=None):
    return Tally(stratum, size, drawn or looked, looked, mn, unsure, not_scorable, stratum == "called")


def test_a_slide_looked_at_whole_is_exact():
    found = estimate([tally("called", 40, 40, 30), tally("band", 50, 50, 5), tally("rest", 410, 410, 1)])
    assert (found.mnbn, found.bn_cells) == (36, 500)
    assert found.low == found.per_1000 == found.high == pytest.approx(72)
    assert found.ci_low < 72 < found.ci_high, "counting error stays"


def test_nothing_found_in_a_sample_leaves_an_upper_limit_above_zero():
    found = estimate([tally("called", 0, 0, 0), tally("band", 20, 20, 0), tally("rest", 980, 100, 0)])
    assert found.per_1000 == 0
    assert found.high > 20
    assert found.low == 0


def test_the_sample_stands_for_its_stratum():
    found = estimate([tally("called", 10, 10, 8), tally("rest", 900, 90, 2)])
    assert found.mnbn == pytest.approx(8 + 20)
    low, high = hypergeometric_limits(2, 90, 900)
    scorable, _ = hypergeometric_limits(90, 90, 900)
    assert found.low == pytest.approx(1000 * (8 + low) / 910)
    assert found.high == pytest.approx(1000 * (8 + high) / (10 + scorable))


@pytest.mark.parametrize(
    ("found", "looked", "size"), [(0, 50, 400), (3, 40, 90), (7, 7, 30), (0, 1, 5), (12, 100, 3000)]
)
def test_limits_invert_the_hypergeometric_test(found, looked, size):
    low, high = hypergeometric_limits(found, looked, size)
    totals = np.arange(found, size - (looked - found) + 1)
    kept = totals[
        (hypergeom.sf(found - 1, size, totals, looked) > 0.025) & (hypergeom.cdf(found, size, totals, looked) > 0.025)
    ]
    assert (low, high) == (kept.min(), kept.max())


def test_unsure_leaves_the_call_standing_and_the_interval_holds_both():
    found = estimate([tally("called", 10, 10, 6, unsure=2), tally("band", 90, 90, 0, unsure=3)])
    assert found.mnbn == 8
    assert (found.low, found.high) == (pytest.approx(60), pytest.approx(110))


def test_what_is_not_scorable_leaves_the_denominator():
    found = estimate([tally("called", 10, 10, 6, not_scorable=2), tally("rest", 90, 90, 0, not_scorable=8)])
    assert found.bn_cells == 90
    assert found.per_1000 == pytest.approx(1000 * 6 / 90)


def test_there_is_no_number_while_a_stratum_was_not_looked_at():
    assert estimate([tally("called", 10, 10, 6), tally("rest", 90, 0, 0, drawn=9)]) is None
    assert estimate([]) is None
    assert estimate([tally("called", 3, 3, 0, not_scorable=3)]) is None


@pytest.mark.parametrize(("total", "unscorable"), [(4, 0), (25, 0), (25, 60)])
def test_the_interval_covers_the_truth_of_the_slide(total, unscorable):
    """A stratum of 1500 with `total` missed cells, 150 looked at: at least 95 of 100 intervals hold the truth."""
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(300):
        kinds = np.zeros(1500, int)
        kinds[:total], kinds[total : total + unscorable] = 1, 2
        seen = rng.permutation(kinds)[:150]
        strata = [tally("called", 60, 60, 45), tally("rest", 1500, 150, (seen == 1).sum(), 0, (seen == 2).sum())]
        found = estimate(strata)
        truth = 1000 * (45 + total) / (1560 - unscorable)
        inside += found.low - 1e-9 <= truth <= found.high + 1e-9
    assert inside >= 285 - 8  # 95 % of 300, less two standard errors


def test_slides_of_a_donor_combine_and_still_cover():
    rng = np.random.default_rng(4)
    inside = 0
    for _ in range(200):
        strata, found_all = [], 0
        for total in (0, 5, 12):
            seen = rng.permutation(np.arange(600) < total)[:100].sum()
            strata.append(tally("rest", 600, 100, int(seen)))
            found_all += total
        found = estimate(strata)
        inside += found.low - 1e-9 <= 1000 * found_all / 1800 <= found.high + 1e-9
    assert inside >= 190 - 6
