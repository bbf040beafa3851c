import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import minimize

from mnbatch.assay.intervals import clopper_pearson, garwood
from mnbatch.assay.mn_counts import Distribution
from mnbatch.dosimetry.calibration_curve import Curve
from mnbatch.dosimetry.dose_estimation import background_over_suspected
from mnbatch.dosimetry.dose_intervals import Counts, Profile, delta, merkle, profile, yield_limits
from tests.assay.vectors import section
from tests.dosimetry.dose_helpers import curve_of, make_curve, one

DOSE = 1e-4
METHODS = {"merkle": merkle, "delta": delta, "profile": profile}


def whole_body(entry):
    return entry["input"]["method"] in ("merkle", "delta")


def limits_of(found):
    return found.lower[0], found.estimate[0], found.upper[0]


@pytest.mark.parametrize("entry", section("dose_estimates", tagged=False, where=whole_body))
def test_vectors_dose_estimates(entry):
    given, expected = entry["input"], entry["expected_tight_root"]["dose"]
    case = one(given["N"], given["X"], given["DI"] or 1)
    found = METHODS[given["method"]](curve_of(given["curve"]), case, given["level"], given["G"])
    assert_allclose(limits_of(found), [expected[k] for k in ("lower", "estimate", "upper")], rtol=DOSE, atol=1e-9)


@pytest.mark.parametrize("entry", section("profile_dose"))
def test_vectors_profile_dose(entry):
    given, expected = entry["input"], entry["expected"]
    found = profile(curve_of(given["curve"]), one(given["N"], given["X"], given["phi"]), given["level"])
    assert_allclose(limits_of(found), [expected[k] for k in ("lower", "estimate", "upper")], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("entry", section("project_yield"))
def test_vectors_project_yield(entry):
    given, expected = entry["input"], entry["expected"]
    curve = curve_of(given["curve"])
    # A yield that is known exactly, read off the band: what merkle does with its two limits.
    certain = one(1e16, given["yield"] * 1e16)
    found = merkle(curve, certain, given["level"])
    wanted = [expected[k] for k in ("dose_lower", "estimate", "dose_upper")]
    assert_allclose(limits_of(found), wanted, rtol=DOSE, atol=1e-6)


@pytest.mark.parametrize(
    "entry", section("from_tests", tagged=False, where=lambda entry: entry["input"].get("method") == "delta")
)
def test_vectors_from_tests_delta(entry):
    distribution = Distribution(tuple(entry["input"]["C"].values()))
    case = one(distribution.cells, distribution.micronuclei, distribution.dispersion_index)
    found = delta(curve_of(entry["input"]["curve"]), case, 0.95)
    assert_allclose(limits_of(found), entry["expected"]["dose_lower_est_upper"], atol=6e-4)


@pytest.mark.parametrize("entry", section("documented_failure"))
def test_vectors_documented_failure(entry):
    """Where the reference's merkle aborts, all three give an interval; delta is the reference's own."""
    curve = Curve(
        "linear-quadratic", "mn", np.array(list(entry["curve"]["coeffs"].values())), np.array(entry["curve"]["vcov"])
    )
    distribution = Distribution(tuple(entry["input"]["case"].values()))
    case = one(distribution.cells, distribution.micronuclei, distribution.dispersion_index)
    expected = entry["expected"]["delta95"]
    assert_allclose(
        limits_of(delta(curve, case, 0.95)), [expected[k] for k in ("lower", "estimate", "upper")], rtol=DOSE
    )
    for method in (merkle, profile):
        lower, estimate, upper = limits_of(method(curve, case, entry["input"]["level"]))
        assert 0 <= lower < estimate < upper


def numeric_profile(curve, case, dose):
    """The definition, minimised over the coefficients by a general optimiser."""
    x = np.array([1, dose, dose**2])[: len(curve.coefficients)]
    precision = np.linalg.inv(curve.covariance)

    def value(scaled):
        t = scaled * curve.coefficients
        mu, n, k = max(x @ t, 1e-300), case.cells[0], case.events[0]
        off = t - curve.coefficients
        if curve.endpoint == "mnbn":
            hits = k * np.log(k / (n * mu)) if k else 0.0
            part = 2 * (hits + (n - k) * np.log((n - k) / (n * (1 - min(mu, 1 - 1e-12)))))
        else:
            part = 2 * ((k * np.log(k / (n * mu)) if k else 0.0) - k + n * mu) / case.phi[0]
        return part + off @ precision @ off

    starts = (np.ones(len(x)), np.full(len(x), 0.3))
    return min(minimize(value, s, bounds=[(0, None)] * len(x), tol=1e-14).fun for s in starts)


@pytest.mark.parametrize("endpoint", ["mn", "mnbn"])
@pytest.mark.parametrize("inflated", [1, 60])  # 60: so uncertain that the bounds of the coefficients matter
@pytest.mark.parametrize(("cells", "events"), [(500, 0), (1000, 3), (200, 22), (1000, 143)])
def test_profile_equals_its_definition(endpoint, inflated, cells, events):
    curve = make_curve(endpoint=endpoint)
    curve = make_curve(endpoint=endpoint, covariance=curve.covariance * inflated)
    case = one(cells, events, 1.0 if endpoint == "mnbn" else 1.3)
    likelihood = Profile(curve, case)
    for dose in (0.0, 0.05, 0.7, 2.0, 3.0):
        found = likelihood(np.array([dose]))[0]
        assert found == pytest.approx(numeric_profile(curve, case, dose), rel=2e-3, abs=1e-4)


def test_profile_of_many_doses_is_that_of_each():
    case = Counts.of([500, 1000], [3, 80], [1.0, 1.4])
    likelihood, doses = Profile(make_curve(), case), np.array([[0, 0.5, 2.0]])
    together = likelihood(doses)
    assert together.shape == (2, 3)
    for i in range(3):
        assert_allclose(together[:, i], likelihood(np.full(2, doses[0, i])))


@pytest.mark.parametrize("entry", section("likelihood_ratio"))
def test_vectors_likelihood_ratio(entry):
    given = entry["input"]
    found = background_over_suspected(curve_of(given["curve"]), one(given["N"], given["X"]), given["suspected_dose"])
    assert 10 ** found[0] == pytest.approx(entry["expected"]["ratio_bg_over_suspected"], rel=1e-9)


def test_yield_limits_are_the_exact_ones():
    assert_allclose(np.ravel(yield_limits(make_curve(), one(1000, 22), 0.95)), np.array(garwood(22)) / 1000)
    binomial = make_curve(endpoint="mnbn")
    for events in (0, 22, 1000):
        found = np.ravel(yield_limits(binomial, one(1000, events), 0.9))
        assert_allclose(found, clopper_pearson(events, 1000, 0.9))


def test_profile_and_delta_agree_far_from_background():
    for endpoint in ("mn", "mnbn"):
        curve = make_curve(endpoint=endpoint)
        case = one(20000, 4000)
        assert_allclose(limits_of(profile(curve, case, 0.95)), limits_of(delta(curve, case, 0.95)), rtol=0.02)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.floats(0, 1.0), st.floats(1, 3), st.sampled_from([0.83, 0.95, 0.99]))
def test_intervals_hold_their_estimate_and_grow_with_the_level(cells, fraction, phi, level):
    case = one(cells, round(cells * fraction), phi)
    for method in (merkle, profile):
        lower, estimate, upper = limits_of(method(make_curve(), case, level))
        assert lower >= 0
        assert lower <= estimate + 1e-9
        if method is profile:
            assert estimate < upper
            wider = limits_of(profile(make_curve(), case, 0.995))
            assert wider[0] <= lower + 1e-9
            assert wider[2] >= upper - 1e-9


def test_curves_without_covariance_keep_the_level():
    """Wanted instead of 8: the level is the one asked for, and only the curve's part is missing."""
    bare = make_curve(covariance=np.zeros((3, 3)))
    narrow, wide = (limits_of(merkle(bare, one(1000, 100), level)) for level in (0.83, 0.95))
    assert wide[0] < narrow[0] < narrow[2] < wide[2]
    y_low, y_high = np.array(garwood(100, 0.83)) / 1000
    assert_allclose(bare.yields([narrow[0], narrow[2]]), [y_low, y_high], rtol=1e-9)
