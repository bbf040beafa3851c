import pytest
from scipy.stats import binomtest

from mnbatch.assay.intervals import clopper_pearson, garwood, wilson
from tests.assay.vectors import section


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (10, 10), (1, 1000), (65, 1000), (7, 13)])
@pytest.mark.parametrize("level", [0.83, 0.95])
def test_intervals_agree_with_scipy(successes, trials, level):
    test = binomtest(successes, trials)
    exact = test.proportion_ci(level, method="exact")
    score = test.proportion_ci(level, method="wilson")
    assert clopper_pearson(successes, trials, level) == pytest.approx((exact.low, exact.high), rel=1e-9, abs=1e-12)
    assert wilson(successes, trials, level) == pytest.approx((score.low, score.high), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (2, 1), (-1, 5)])
def test_contradictory_counts_are_refused(successes, trials):
    with pytest.raises(ValueError, match="not a count"):
        clopper_pearson(successes, trials)


@pytest.mark.parametrize("entry", section("poisson_exact_ci"))
def test_vectors_poisson_exact_ci(entry):
    expected = entry["expected"]
    found = garwood(entry["input"]["x"], entry["input"]["level"])
    assert found == pytest.approx((expected["lower"], expected["upper"]), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("entry", section("binomial_ci"))
def test_vectors_binomial_ci(entry):
    given = (entry["input"]["x"], entry["input"]["n"], entry["input"]["level"])
    assert clopper_pearson(*given) == pytest.approx(entry["expected"]["clopper_pearson"], rel=1e-9)
    assert wilson(*given) == pytest.approx(entry["expected"]["wilson"], rel=1e-9)


def test_a_negative_count_is_refused():
    with pytest.raises(ValueError, match="not a count of micronuclei"):
        garwood(-1)
