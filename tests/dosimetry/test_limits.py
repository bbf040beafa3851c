import pytest
from scipy.stats import poisson

from mnbatch.dosimetry.detection_limits import limits_of_control, limits_of_rate
from tests.assay.vectors import section


def limits(given, rule):
    if given["type"] == "const":
        return limits_of_rate(given["mu0"], given["n1"], given["alpha"], given["beta"], rule)
    return limits_of_control(given["y0"], given["n0"], given["n1"], given["alpha"], given["beta"], rule)


@pytest.mark.parametrize("entry", section("characteristic_limits", tagged=False))
def test_vectors_characteristic_limits(entry):
    found = limits(entry["input"], "two-sided")
    assert found.decision_threshold == entry["expected"]["decision_threshold"]
    assert found.detection_limit == pytest.approx(entry["expected"]["detection_limit"], rel=1e-9)


@pytest.mark.parametrize("entry", section("characteristic_limits", tagged=True))
def test_tagged_count_cap_of_the_tool_there_is_no_cap(entry):
    assert entry["tags"] == ["count_cap_of_the_tool"]
    assert entry["expected"]["decision_threshold"] is None
    found = limits(entry["input"], "one-sided")
    assert 100 < found.decision_threshold < found.detection_limit


@pytest.mark.parametrize("entry", section("characteristic_limits_uncapped"))
@pytest.mark.parametrize(("rule", "key"), [("one-sided", "one_sided"), ("two-sided", "two_sided_rule")])
def test_vectors_characteristic_limits_uncapped(entry, rule, key):
    found, expected = limits(entry["input"], rule), entry["expected"][key]
    assert found.decision_threshold == expected["decision_threshold"]
    assert found.detection_limit == pytest.approx(expected["detection_limit"], rel=1e-9)


@pytest.mark.parametrize("mean", [0.5, 13.0, 500.0, 4321.0])
def test_limits_mean_what_they_say(mean):
    found = limits_of_rate(mean / 1000, 1000, alpha=0.05, beta=0.1)
    threshold = found.decision_threshold
    assert poisson.sf(threshold, mean) <= 0.05 < poisson.sf(threshold - 1, mean)
    assert poisson.cdf(threshold, found.detection_limit) == pytest.approx(0.1)
    assert found.per_cell(1000) == (threshold / 1000, found.detection_limit / 1000)


def test_a_control_of_few_cells_raises_the_threshold():
    few, many = limits_of_control(2, 200, 1000), limits_of_control(200, 20_000, 1000)
    assert few.decision_threshold > many.decision_threshold


@pytest.mark.parametrize("bad", [(-0.1, 100), (0.1, 0)])
def test_bad_input_is_refused(bad):
    with pytest.raises(ValueError):
        limits_of_rate(*bad)
    with pytest.raises(ValueError, match="control needs cells"):
        limits_of_control(1, 0, 100)
