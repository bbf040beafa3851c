"""A frequency from calls, with errors that differ from slide to slide."""

from dataclasses import replace

import numpy as np
import pytest

from mnbatch.assay.slide_errors import (
    FEWEST_SLIDES,
    ValidationSlide,
    estimate_fraction,
    predicted_rates,
    score_spreads,
    too_few,
)


def slides(number, sd_se=0.04, sd_sp=0.022, seed=1):
    rng, found = np.random.default_rng(seed), []
    for _ in range(number):
        se, sp = (beta(rng, mean, sd) for mean, sd in ((0.92, sd_se), (0.945, sd_sp)))
        right = int(rng.binomial(65, se))
        found.append(ValidationSlide(1000, 65, right + int(rng.binomial(935, 1 - sp)), right))
    return found


def beta(rng, mean, sd):
    size = mean * (1 - mean) / sd**2 - 1
    return float(rng.beta(mean * size, (1 - mean) * size))


def width(found):
    return found.high - found.low


def test_the_predicted_rates_have_the_spread_of_the_slides():
    se, sp = predicted_rates(tuple(slides(40)), (500,))
    assert se.mean() == pytest.approx(0.92, abs=0.02)
    assert np.std(sp) == pytest.approx(0.022, rel=0.35)


def test_differences_between_slides_widen_the_interval_and_few_slides_do_so_more():
    alike, different = (estimate_fraction(60, [1000], slides(30, sd_se=s, sd_sp=s)) for s in (0.002, 0.03))
    assert width(different) > 1.5 * width(alike)
    few, many = (
        np.mean([width(estimate_fraction(150, [1000], slides(n, seed=lab))) for lab in range(6)]) for n in (6, 30)
    )
    assert few > many


def test_two_slides_of_a_donor_tell_more_than_one_of_as_many_cells():
    known = slides(30)
    assert width(estimate_fraction(80, [500, 500], known)) < width(estimate_fraction(80, [1000], known))


@pytest.mark.parametrize("true", [0.0077, 0.1, 0.4])
def test_the_interval_holds_the_truth_in_about_95_of_100_laboratories(true):
    rng, held = np.random.default_rng(14), []
    for lab in range(60):
        known = slides(12, seed=lab)
        calls = 0
        for _ in range(2):
            se, sp = beta(rng, 0.92, 0.04), beta(rng, 0.945, 0.022)
            calls += int(rng.binomial(500, true * se + (1 - true) * (1 - sp)))
        found = estimate_fraction(calls, [500, 500], known)
        held.append(found.low is not None and found.low <= true <= found.high)
    assert np.mean(held) > 0.88


def test_all_right_on_every_slide_is_not_a_specificity_of_one():
    perfect = [ValidationSlide(100, 10, 9, 9)] * 8
    found = estimate_fraction(3, [1000], perfect)
    assert found.sp < 1
    assert found.low == pytest.approx(0, abs=0.001)
    assert found.high > 0.004


def test_counts_that_no_frequency_explains_have_no_interval():
    strict = [ValidationSlide(2000, 100, 90 + 380, 90)] * 10  # a fifth of all cells is called wrongly
    found = estimate_fraction(2, [1000], strict)
    assert (found.low, found.high) == (None, None)
    assert found.raw < 0


def test_few_slides_and_none_are_refused_with_the_reason():
    assert "not known how the model" in too_few([])
    assert f"1 validation slide with cells of both classes, and {FEWEST_SLIDES}" in too_few(slides(1))
    with pytest.raises(ValueError, match="are needed"):
        estimate_fraction(5, [100], slides(2))
    with pytest.raises(ValueError, match="not a count"):
        estimate_fraction(5, [3], slides(8))
    with pytest.raises(ValueError, match="cannot be"):
        ValidationSlide(10, 3, 5, 4)


def scored_slides(rng, below, share, slides=60):
    """Slides of 200 cells without and 20 with a micronucleus; where scores below the split are differs as `below`."""
    found = []
    for _ in range(slides):
        first = rng.beta(*(np.array([0.7, 0.3]) * (1 / below**2 - 1)))
        high = rng.beta(*(np.array([0.02, 0.98]) * (1 / share**2 - 1)))
        nomn = rng.multinomial(200, [(1 - high) * first, (1 - high) * (1 - first), high / 2, high / 2])
        mn = rng.multinomial(20, [0.05, 0.05, 0.3, 0.6])
        right = int(mn[2:].sum())
        found.append(ValidationSlide(220, 20, right + int(nomn[2:].sum()), right, tuple(mn), tuple(nomn)))
    return tuple(found)


def test_scores_near_0_may_differ_more_between_slides_than_how_many_are_called():
    spread = score_spreads(scored_slides(np.random.default_rng(2), below=0.4, share=0.1), 2)[1]
    assert np.median(spread.below) == pytest.approx(0.4, abs=0.08)
    assert np.median(spread.share) == pytest.approx(0.1, abs=0.05)
    assert np.median(spread.above) < 0.2


def test_slides_without_their_scores_have_the_spread_of_right_calls():
    slides = scored_slides(np.random.default_rng(2), below=0.4, share=0.1)
    bare = tuple(replace(slide, mn_scores=(), nomn_scores=()) for slide in slides)
    assert score_spreads(bare, 2)[1].below is None
    with pytest.raises(ValueError, match="validation slide"):
        score_spreads(bare[:2], 2)
