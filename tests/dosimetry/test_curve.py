import numpy as np
import pytest
from numpy.testing import assert_allclose

from mnbatch.dosimetry.calibration_curve import Curve, problems, protraction_factor
from tests.assay.vectors import section
from tests.dosimetry.dose_helpers import curve_of, make_curve


@pytest.mark.parametrize("entry", section("curve_band"))
def test_vectors_curve_band(entry):
    given, expected = entry["input"], entry["expected"]
    curve = curve_of(given["curve"])
    low, high = curve.band(np.array([given["D"]]), given["level"])
    assert_allclose([low[0], high[0]], [expected["lower"], expected["upper"]], rtol=1e-9)
    assert curve.yields(given["D"]) == pytest.approx(expected["y"], rel=1e-9)
    assert curve.band_factor(given["level"]) == pytest.approx(expected["R_factor"], rel=1e-9)


@pytest.mark.parametrize("entry", section("protracted_g"))
def test_vectors_protracted_g(entry):
    found = protraction_factor(entry["input"]["time_h"], entry["input"]["t0_h"])
    if entry.get("tags"):  # cancellation: the reference exceeds 1; the limit is 1 - x / 3
        x = entry["input"]["time_h"] / entry["input"]["t0_h"]
        assert found == pytest.approx(1 - x / 3, rel=1e-7)
        assert found < 1
        return
    assert found == pytest.approx(entry["expected"], rel=1e-9)


def test_protraction_is_continuous_and_bounded():
    assert protraction_factor(0) == 1
    assert protraction_factor(0.0199999) == pytest.approx(protraction_factor(0.0200001), rel=1e-6)
    assert protraction_factor(1e6) < 1e-5
    for hours in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="cannot last"):
            protraction_factor(hours)


def test_root_inverts_the_curve_with_and_without_its_quadratic_term():
    curve = make_curve()
    for g in (1.0, 0.4, 0.0):
        doses = np.array([0, 1e-6, 0.1, 1, 5.0])
        root, _ = curve.root(curve.yields(doses, g), g)
        assert_allclose(root, doses, atol=1e-10)


def test_scorer_errors_move_the_curve_and_widen_it():
    curve = make_curve()
    seen = curve.as_scored(0.8, 0.01, [[1e-4, 0], [0, 1e-6]])
    assert_allclose(seen.yields([0, 2.0]), 0.8 * curve.yields([0, 2.0]) + 0.01)
    exact = curve.as_scored(0.8, 0.01, np.zeros((2, 2)))
    assert (seen.errors([0, 2.0]) > exact.errors([0, 2.0])).all()
    assert_allclose(exact.covariance, 0.64 * curve.covariance)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"coefficients": [0.01, 0.05, -0.004]}, "turns down at 6.25 Gy"),
        ({"coefficients": [0.01, -0.05, 0.02]}, "falls with dose"),
        ({"coefficients": [0.01, 0, -0.02]}, "falls with dose"),
        ({"coefficients": [0.01, 0, 0]}, "flat"),
        ({"coefficients": [-0.01, 0.05, 0.02]}, "negative"),
        ({"coefficients": [0.01, float("nan"), 0.02]}, "finite"),
        ({"covariance": [[1e-6, 2e-6, 0], [2e-6, 1e-6, 0], [0, 0, 1e-6]]}, "positive semidefinite"),
        ({"covariance": [[-1e-6, 0, 0], [0, 1e-6, 0], [0, 0, 1e-6]]}, "positive semidefinite"),
        ({"covariance": [[1e-6, 5e-7, 0], [0, 1e-6, 0], [0, 0, 1e-6]]}, "positive semidefinite"),
    ],
)
def test_curves_without_a_dose_say_why(change, reason):
    found = problems(make_curve(**change))
    assert len(found) == 1
    assert reason in found[0]


def test_good_curves_have_no_problem():
    assert problems(make_curve()) == ()
    assert problems(make_curve(covariance=np.zeros((3, 3)))) == ()
    assert problems(Curve("linear", "mnbn", np.array([0, 0.1]), np.eye(2) * 1e-6)) == ()
    # Printed with four digits a covariance may miss being semidefinite by a hair.
    assert problems(make_curve(coefficients=[0.0, 0.0, 0.02])) == ()
