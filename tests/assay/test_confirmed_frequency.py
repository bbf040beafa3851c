"""The frequency behind confirmed calls and random negatives."""

import numpy as np
import pytest

from mnbatch.assay.confirmed_frequency import (
    SIZES,
    SeenSlide,
    confirmed_fraction,
    propose_negatives,
    why_no_confirmed,
)
from mnbatch.assay.reader_slips import DoubleRead, Slips
from mnbatch.assay.slide_errors import ValidationSlide

SHARP = [ValidationSlide(1000, 65, 60 + 55, 60 - i % 3) for i in range(16)]
BLUNT = [ValidationSlide(1000, 65, 30 + 60, found) for found in (20, 35, 45, 52, 58, 60, 40, 30)]
UNKNOWN: list[ValidationSlide] = []


def seen(**change):
    kept = {"called": 60, "negatives": 940, "confirmed": 9, "looked": 100, "found": 0}
    return SeenSlide(**{**kept, **change})


def test_the_interval_is_about_the_confirmed_cells_over_the_sensitivity():
    found = confirmed_fraction([seen()], SHARP)
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(0.009 / 0.92, rel=0.1)
    assert found.se_slides == 16


def test_confirmed_cells_alone_are_a_lower_bound_and_give_no_number_without_a_sensitivity():
    assert "lower bound" in why_no_confirmed([seen(looked=0)], UNKNOWN)
    assert "lower bound" in why_no_confirmed([seen(looked=60)], UNKNOWN)
    assert "1 validation slide" in why_no_confirmed([seen(looked=0)], SHARP[:1])
    with pytest.raises(ValueError, match="lower bound"):
        confirmed_fraction([seen(looked=0)], UNKNOWN)
    assert why_no_confirmed([seen(looked=0)], SHARP) == ""


def test_random_negatives_bound_what_an_unknown_sensitivity_leaves_open():
    widths = []
    for looked in (100, 200, 400, 940):
        found = confirmed_fraction([seen(looked=looked)], UNKNOWN)
        widths.append(found.high - found.low)
    assert widths == sorted(widths, reverse=True)
    known = confirmed_fraction([seen()], SHARP)
    assert known.high - known.low < widths[0]


def test_a_missed_cell_among_the_random_negatives_raises_the_frequency():
    none, one = (confirmed_fraction([seen(found=f)], BLUNT) for f in (0, 2))
    assert one.value > none.value
    assert one.high > none.high


def test_nothing_confirmed_begins_at_zero_and_has_an_upper_limit():
    found = confirmed_fraction([seen(called=18, negatives=282, confirmed=0)], SHARP)
    assert (found.value, found.low) == (0.0, 0.0)
    assert 0.003 < found.high < 0.03


def test_unsure_cells_widen_and_unscorable_ones_leave_the_denominator():
    plain, unsure = confirmed_fraction([seen()], SHARP), confirmed_fraction([seen(called_unsure=4, unsure=1)], SHARP)
    assert unsure.low <= plain.low * 1.001
    assert unsure.high > plain.high
    half = confirmed_fraction([seen(called_unscorable=30, unscorable=50)], SHARP)
    assert half.value == pytest.approx(plain.value * 1000 / 500, rel=0.1)


def test_slides_drawn_with_different_shares_are_one_sample():
    """Twice the share in one slide counts half for each cell found there: the sums are unbiased."""
    even = [seen(looked=100, found=1), seen(looked=100, found=1)]
    odd = [seen(looked=50, found=0.5), seen(looked=150, found=1.5)]
    one, other = (confirmed_fraction(parts, UNKNOWN) for parts in (even, odd))
    assert one.high == pytest.approx(other.high, rel=0.02)


def test_one_slide_and_many_and_the_last_cell():
    for slides in (SHARP, UNKNOWN):
        few = confirmed_fraction([seen()], slides)
        many = confirmed_fraction([seen()] * 8, slides)
        assert many.high - many.low < few.high - few.low
    all_called = SeenSlide(called=40, negatives=0, confirmed=40, looked=0, found=0)
    assert confirmed_fraction([all_called], SHARP).high == 1.0
    million = SeenSlide(called=60_000, negatives=940_000, confirmed=9000, looked=100, found=0)
    assert confirmed_fraction([million], SHARP).low > 0.0085
    assert why_no_confirmed([SeenSlide(0, 0, 0, 0, 0)], SHARP) == "no cell can be scored"


def test_slips_known_from_double_readings_are_in_the_interval():
    """Readers who slip in 2 of 100 find 2 in 100 negatives that have nothing: 18 per 1000."""
    slipped = seen(confirmed=10, looked=400, found=8)
    slips = Slips(DoubleRead(300, 12), DoubleRead(300, 12))
    plain, honest = confirmed_fraction([slipped], BLUNT), confirmed_fraction([slipped], BLUNT, slips)
    assert plain.low > 0.0125
    assert honest.low < 0.009
    assert confirmed_fraction([slipped], BLUNT, Slips(DoubleRead(10, 1), DoubleRead(10, 1))) == plain
    twice = seen(confirmed=10, looked=400, found=8, called_twice=60, twice=400)
    assert confirmed_fraction([twice], BLUNT, slips) == plain


def test_simulated_donors_are_held():
    rng, held = np.random.default_rng(5), 0
    for _ in range(150):
        se, with_mn = rng.beta(0.79 * 10, 0.21 * 10), rng.binomial(1000, 0.03)
        right = int(rng.binomial(with_mn, se))
        false = int(rng.binomial(1000 - with_mn, 0.03))
        negatives = 1000 - right - false
        found = int(rng.hypergeometric(with_mn - right, negatives - with_mn + right, 200))
        s = SeenSlide(right + false, negatives, right, 200, found)
        limits = confirmed_fraction([s], UNKNOWN)
        held += limits.low <= 0.03 <= limits.high
    assert held >= 134


def test_a_plan_asks_for_more_negatives_where_less_is_known():
    sharp, unknown = propose_negatives(SHARP, 1000), propose_negatives(UNKNOWN, 1000)
    assert sharp.negatives == 100
    assert unknown.negatives >= 400
    assert unknown.negatives in SIZES
    assert (unknown.se, sharp.reason) == (None, "")
    assert "not known" in unknown.reason
    assert sharp.se[1] < sharp.se[0] < sharp.se[2]
    assert propose_negatives(UNKNOWN, 50).negatives <= 200
