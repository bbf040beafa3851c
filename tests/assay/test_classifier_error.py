import numpy as np
import pytest

from mnbatch.assay.classifier_error import (
    CountedRate,
    ErrorRates,
    correct_fraction,
    correct_yield,
    lang_reiczigel,
    rogan_gladen,
    rogan_gladen_error,
)
from mnbatch.assay.intervals import clopper_pearson, wilson
from tests.assay.vectors import section

EXACT = {"c-p": clopper_pearson, "wilson": wilson}


def rates(se, sp):
    return ErrorRates(CountedRate(*se), CountedRate(*sp), "simulated")


@pytest.mark.parametrize("entry", section("classifier_correction"))
def test_vectors_classifier_correction(entry):
    given, expected = entry["input"], entry["expected"]
    fraction = given["x"] / given["n"]
    raw = rogan_gladen(fraction, given["se"], given["sp"])
    assert raw == pytest.approx(expected["rogan_gladen_raw"], rel=1e-9)
    assert max(0.0, raw) == pytest.approx(expected["rogan_gladen_truncated"], rel=1e-9)
    sd = rogan_gladen_error(fraction, given["n"], given["se"], given["sp"])
    assert sd == pytest.approx(expected["rg_known_se_sp_sd"], rel=1e-9)
    interval = lang_reiczigel(
        given["x"],
        given["n"],
        (given["se"] * given["n_se"], given["n_se"]),
        (given["sp"] * given["n_sp"], given["n_sp"]),
        given["level"],
    )
    assert np.clip(interval, 0, 1) == pytest.approx(expected["lang_reiczigel"], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("entry", section("rogan_gladen_epiR"))
def test_vectors_rogan_gladen_epir(entry):
    """Rates known without error: the limits of the apparent fraction go through the same line as the estimate.

    Blaker's and Sterne's limits of the apparent fraction are not offered; theirs are taken as they stand.
    """
    given, apparent, true = entry["input"], entry["expected"]["apparent"], entry["expected"]["true"]
    for key in ("est", "lower", "upper"):
        found = rogan_gladen(apparent[key], given["se"], given["sp"])
        assert found == pytest.approx(true[key], rel=1e-9, abs=1e-12)
    if given["method"] in EXACT:
        found = EXACT[given["method"]](given["x"], given["n"], given["level"])  # type: ignore[assignment]
        assert found == pytest.approx((apparent["lower"], apparent["upper"]), rel=1e-9, abs=1e-12)


def test_clipped_and_raw_value_are_both_given():
    found = correct_fraction(10, 1000, rates((270, 300), (1970, 2000)))
    assert found.raw == pytest.approx(-0.00565, abs=1e-5)
    assert found.value == 0
    assert found.high is not None
    assert found.high > 0


@pytest.mark.parametrize("positive", [0, 5, 10, 65])
def test_thirty_nine_of_thirty_nine_leaves_doubt(positive):
    """A specificity of 39/39 allows false positives far above the background: the interval must say so."""
    few = correct_fraction(positive, 1000, rates((62, 74), (39, 39)))
    many = correct_fraction(positive, 1000, rates((620, 740), (3900, 3900)))
    assert few.high - few.low > 0.025
    assert few.high - few.low > 1.3 * (many.high - many.low)
    assert few.low <= few.value <= few.high


def test_rates_that_cannot_hold_give_no_interval_instead_of_an_empty_one():
    found = correct_fraction(0, 5000, rates((180, 200), (1940, 2000)))
    assert (found.value, found.low, found.high) == (0, None, None)
    assert found.raw < 0


def test_guessing_corrects_nothing():
    with pytest.raises(ValueError, match="no better than guessing"):
        correct_fraction(10, 100, rates((10, 20), (10, 20)))
    assert lang_reiczigel(10, 100, (9, 20), (10, 20)) == (0, 1)


@pytest.mark.parametrize("counts", [(3, 2), (-1, 5), (0, 0)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError, match="is not a count"):
        CountedRate(*counts)
    with pytest.raises(ValueError, match="is not a count"):
        correct_fraction(*counts, rates((9, 10), (9, 10)))  # type: ignore[call-arg]


@pytest.mark.parametrize("validated", [(300, 300), (2000, 2000), (74, 39)])
@pytest.mark.parametrize("prevalence", [0.005, 0.02, 0.2])
def test_lang_reiczigel_covers(validated, prevalence):
    """2000 simulated laboratories; benchmarks/correction_coverage.py has more of them."""
    se, sp, cells, runs = 0.85, 0.99, 1000, 2000
    rng = np.random.default_rng(7)
    calls = rng.binomial(cells, prevalence * se + (1 - prevalence) * (1 - sp), runs)
    se_right, sp_right = rng.binomial(validated[0], se, runs), rng.binomial(validated[1], sp, runs)
    inside = 0
    for x, a, b in zip(calls.tolist(), se_right.tolist(), sp_right.tolist(), strict=True):
        low, high = lang_reiczigel(x, cells, (a, validated[0]), (b, validated[1]))
        inside += low <= prevalence <= high
    assert inside / runs > 0.935


def test_corrected_yield():
    found = correct_yield((0.05, 5e-5), (0.01, 1e-6), (0.8, 4e-4))
    assert found.raw == pytest.approx(0.05)
    assert found.error == pytest.approx((5e-5 + 1e-6 + 0.05**2 * 4e-4) ** 0.5 / 0.8)
    assert found.low < found.value < found.high


def test_corrected_yield_keeps_raw_and_clipped():
    found = correct_yield((0.005, 5e-6), (0.01, 1e-6), (0.8, 4e-4))
    assert found.raw == pytest.approx(-0.00625)
    assert found.value == found.low == 0
    with pytest.raises(ValueError, match="positive share"):
        correct_yield((0.1, 0.1), (0.0, 0.0), (0.0, 0.0))
