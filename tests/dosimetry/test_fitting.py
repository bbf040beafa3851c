import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from mnbatch.dosimetry.likelihood_fits import DosePoint, Observations, _cells, _hessian, fit, fit_negative_binomial
from tests.assay.vectors import only, section

FIT = 1e-4
SHAPES = {"lin": "linear", "lin-quad": "linear-quadratic"}


def points_of(rows):
    points = []
    for row in rows:
        counts = tuple(row[f"C{k}"] for k in range(9) if f"C{k}" in row)
        events = row.get("X", sum(k * n for k, n in enumerate(counts)))
        points.append(DosePoint(row["D"], row.get("N", sum(counts)), events, counts))
    return points


def data_of(entry):
    return Observations.of(points_of(entry["input"]["rows"]))


def shape_of(entry):
    return SHAPES[entry["input"].get("model") or entry["id"].split(":")[2]]


@pytest.mark.parametrize("entry", section("fits", tagged=False))
def test_vectors_fits(entry):
    found, expected = fit(data_of(entry), shape_of(entry)), entry["expected"]
    if expected["algorithm_used"] != "glm":
        # The reference's second algorithm stops before the maximum (and its standard errors are the observed
        # information there): what can be asked is a likelihood no smaller than its own, and coefficients near.
        assert found.log_likelihood >= expected["stats"]["logLik"]
        off = np.abs(found.coefficients - list(expected["coeffs"].values()))
        error = np.sqrt(np.maximum(np.diag(found.covariance), 1e-8))
        assert (off < 0.1 * error).all()
        return
    assert_allclose(found.coefficients, list(expected["coeffs"].values()), rtol=FIT)
    assert found.df == expected["stats"]["df"]
    assert found.deviance == pytest.approx(expected["stats"]["deviance"], rel=FIT, abs=1e-9)
    if expected["vcov"][0][0] is not None:
        quasi = expected["dispersion"] or 1.0
        assert_allclose(found.covariance * quasi, expected["vcov"], rtol=FIT)


@pytest.mark.parametrize("entry", section("fits_tight"))
def test_vectors_fits_tight(entry):
    found, expected = fit(data_of(entry), shape_of(entry)), entry["expected"]
    if "glm.fit: algorithm did not converge" in entry["warnings"]:
        assert found.log_likelihood > expected["logLik"] + 0.05  # R says itself that it stopped elsewhere
        return
    assert_allclose(found.coefficients, expected["coeffs"], rtol=FIT)
    assert_allclose(found.covariance, expected["vcov"], rtol=FIT)
    for name, value in (
        ("logLik", found.log_likelihood),
        ("deviance", found.deviance),
        ("pearson_chi2", found.pearson),
        ("dispersion_pearson", found.dispersion),
        ("p_gof_pearson", found.p_pearson),
        ("p_gof_deviance", found.p_deviance),
    ):
        if name in expected:
            assert value == pytest.approx(expected[name], rel=FIT), name


@pytest.mark.parametrize("entry", section("from_tests", tagged=False, where=lambda entry: "dataset" in entry["input"]))
def test_vectors_from_tests_fits(entry):
    """Rounded as the reference's own tests print them; they scale the covariance by a dispersion below 1, too."""
    table = only("fits", "fit:barquinero1995|lin-quad|poisson|glm")
    rows = [r for r in table["input"]["rows"] if r["D"] < 1 or "D<1" not in entry["input"]["dataset"]]
    found, expected = fit(Observations.of(points_of(rows)), SHAPES[entry["input"]["model"]]), entry["expected"]
    assert_allclose(found.coefficients, expected["coeffs"], atol=6e-5)
    scaled = found.dispersion * np.diag(found.covariance)
    assert_allclose(np.sqrt(scaled), expected["std_err"], atol=6e-5)
    assert_allclose(scaled, expected["vcov_diag"], rtol=0.03)
    if "dispersion" in expected:
        assert found.dispersion == pytest.approx(expected["dispersion"], abs=5e-4)


@pytest.mark.parametrize("entry", section("fits_nb"))
def test_vectors_fits_nb(entry):
    points, expected = points_of(entry["input"]["rows"]), entry["expected"]
    kind = entry["id"].rsplit(":", 1)[1].lower()
    found = fit_negative_binomial(points, "linear-quadratic", kind)
    assert found.log_likelihood >= expected["loglik"] - 1e-6 * abs(expected["loglik"])
    if expected["alpha"] > 1e-3:
        assert_allclose(found.coefficients, expected["coeffs"], rtol=FIT)
        assert found.alpha == pytest.approx(expected["alpha"], rel=FIT)
    else:  # no overdispersion: alpha runs to 0, and where an optimiser gives up is arbitrary
        assert_allclose(found.coefficients, expected["coeffs"], rtol=1e-3)
        assert found.alpha < 1e-2
    # The reference took its second derivatives as differences over +- 0.001, which is half of a background of 0.002
    # events a cell. The same difference of our gradient gives its covariance; our own is the derivative.
    z = np.array([*expected["coeffs"], expected["log_alpha"]])
    coarse = _hessian(z, _cells(points, "linear-quadratic"), np.ones(3), kind, step=1e-3)
    assert_allclose(np.linalg.inv(coarse)[:3, :3], expected["vcov3"], rtol=1e-3)


@pytest.mark.parametrize("noise", ["poisson", "binomial"])
@pytest.mark.parametrize("shape", ["linear", "linear-quadratic"])
def test_finds_the_curve_behind_exact_data(shape, noise):
    dose = np.array([0, 0.25, 0.5, 1, 2, 3, 4.0])
    truth = np.array([0.01, 0.05, 0.02][: 2 if shape == "linear" else 3])
    x = np.stack([np.ones(7), dose, dose**2], axis=1)[:, : len(truth)]
    cells = np.full(7, 1e6)
    found = fit(Observations(dose, cells, cells * (x @ truth)), shape, noise)
    assert_allclose(found.coefficients, truth, rtol=1e-9)
    assert found.pearson < 1e-9


def test_binomial_covariance_is_narrower_than_poisson():
    data = Observations(np.arange(5.0), np.full(5, 1000.0), np.array([10.0, 60, 130, 220, 330]))
    poisson, binomial = (fit(data, "linear-quadratic", noise) for noise in ("poisson", "binomial"))
    assert (np.diag(binomial.covariance) < np.diag(poisson.covariance)).all()


def test_no_event_at_zero_dose_puts_the_background_on_its_boundary():
    data = Observations(np.array([0, 1, 2, 4.0]), np.full(4, 1000.0), np.array([0, 40, 110, 330.0]))
    found = fit(data, "linear-quadratic")
    assert found.boundary
    assert found.coefficients[0] == 0
    assert_allclose(found.covariance[0], 0)
    assert (found.coefficients[1:] > 0).all()


def test_too_few_doses_and_no_events_are_refused():
    with pytest.raises(ValueError, match="2 different doses cannot give 3"):
        fit(Observations(np.array([0, 1, 1.0]), np.full(3, 100.0), np.full(3, 5.0)), "linear-quadratic")
    with pytest.raises(ValueError, match="no event"):
        fit(Observations(np.arange(4.0), np.full(4, 100.0), np.zeros(4)), "linear")


def test_negative_binomial_needs_the_distribution():
    with pytest.raises(ValueError, match="needs C0, C1"):
        fit_negative_binomial([DosePoint(d, 100, 5) for d in range(4)], "linear", "nb1")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=5, max_size=5).filter(any))
def test_every_table_of_counts_has_a_fit_with_yields_in_range(events):
    data = Observations(np.arange(5.0), np.full(5, 100.0), np.array(events, dtype=float))
    found = fit(data, "linear")
    assert np.isfinite(found.coefficients).all()
    assert (found.coefficients[0] + found.coefficients[1] * data.dose >= -1e-9).all()
