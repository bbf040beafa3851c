from math import inf

import pytest
from scipy.stats import binomtest, poisson

from mnbatch.assay.intervals import binomial_p_two_sided, compare_rates, poisson_p_greater, poisson_p_two_sided
from tests.assay.vectors import section


def number(value):
    return inf if value == "Inf" else value


@pytest.mark.parametrize("entry", section("rate_comparison"))
def test_vectors_rate_comparison(entry):
    given, expected = entry["input"], entry["expected"]
    found = compare_rates(given["x_case"], given["n_case"], given["x_ctrl"], given["n_ctrl"])
    assert found.p_two_sided == pytest.approx(expected["p_two_sided"], rel=1e-9)
    assert found.p_greater == pytest.approx(expected["p_greater"], rel=1e-9)
    assert found.ratio == pytest.approx(number(expected["rate_ratio"]), rel=1e-9)
    wanted = [number(v) for v in expected["ratio_ci95"]]
    assert [found.ratio_low, found.ratio_high] == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("entry", section("from_tests", where=lambda entry: "x_ctrl" in entry["input"]))
def test_vectors_from_tests_poisson_test(entry):
    given = entry["input"]
    found = compare_rates(given["x_case"], given["n_case"], given["x_ctrl"], given["n_ctrl"])
    assert round(found.p_two_sided, entry["expected"]["round"]) == entry["expected"]["p_two_sided"]


@pytest.mark.parametrize(("events", "trials", "p"), [(0, 10, 0.3), (7, 10, 0.3), (3, 400, 0.02), (5, 5, 0.5)])
def test_two_sided_binomial_agrees_with_scipy(events, trials, p):
    assert binomial_p_two_sided(events, trials, p) == pytest.approx(binomtest(events, trials, p).pvalue, rel=1e-9)


def test_poisson_tails():
    assert poisson_p_greater(5, 2.5) == pytest.approx(poisson.sf(4, 2.5), rel=1e-9)
    assert poisson_p_greater(0, 0.0) == 1
    assert poisson_p_two_sided(0, 0.0) == 1
    assert poisson_p_two_sided(3, 0.0) == 0
    both = poisson.pmf(range(200), 30.5)
    assert poisson_p_two_sided(45, 30.5) == pytest.approx(both[both <= both[45] * (1 + 1e-7)].sum(), rel=1e-9)


def test_nothing_on_both_sides_has_no_ratio():
    found = compare_rates(0, 100, 0, 100)
    assert (found.ratio, found.ratio_low, found.ratio_high) == (None, 0, inf)
    assert found.p_greater == found.p_two_sided == 1


@pytest.mark.parametrize("bad", [(1, 0, 1, 10), (1, 10, 1, 0), (-1, 10, 1, 10)])
def test_comparison_needs_cells(bad):
    with pytest.raises(ValueError, match="needs cells"):
        compare_rates(*bad)
