"""Doses where curves and counts end: little background, few cells, saturation, slides of another size."""

import numpy as np
import pytest

from mnbatch.dosimetry.calibration_curve import Curve, dump_curve, load_curve
from mnbatch.dosimetry.case_tables import CaseCounts
from mnbatch.dosimetry.curve_fitting import fit_curve
from mnbatch.dosimetry.detection_limits import limits_of_estimated_rate, limits_of_rate
from mnbatch.dosimetry.dose_estimation import LEAST_CELLS, Case, DoseOptions, assess
from mnbatch.dosimetry.dose_intervals import Counts, merkle
from mnbatch.dosimetry.likelihood_fits import DosePoint, Observations, fit
from mnbatch.errors import CurveError
from tests.dosimetry.dose_helpers import make_curve


def dose(curve, cells, events, method="profile", slides=()):
    return assess([Case("d", CaseCounts(cells, events), slide_cells=slides)], curve, DoseOptions(method=method))[0]


def scattered(cells_a_slide=300, factor=4.0, df=13):
    points = [{"dose": d, "n": cells_a_slide, "x": 15} for d in (0, 0, 1, 2)]
    about = {"fit": {"covariance_factor": factor, "df": df, "points": points}}
    return make_curve(endpoint="mnbn", about=about, coefficients=(0.05, 0.05, 0.01))


# The decision threshold.


@pytest.mark.parametrize("cells", [200, 1000, 5000])
def test_a_background_without_error_gives_the_exact_limits(cells):
    exact, estimated = limits_of_rate(0.008, cells), limits_of_estimated_rate(0.008, 0.0, cells)
    assert estimated.decision_threshold == exact.decision_threshold
    assert estimated.detection_limit == pytest.approx(exact.detection_limit, rel=1e-9)


def test_the_threshold_carries_the_uncertainty_of_the_background_and_of_slides():
    plain, unsure = limits_of_estimated_rate(0.01, 0.0, 1000), limits_of_estimated_rate(0.01, 0.004, 1000)
    wide = limits_of_estimated_rate(0.01, 0.004, 1000, scatter=3.0)
    assert plain.decision_threshold < unsure.decision_threshold < wide.decision_threshold
    assert plain.detection_limit < unsure.detection_limit < wide.detection_limit


def test_false_alarms_are_rare_although_each_laboratory_estimates_its_background():
    rng, cells, alarms = np.random.default_rng(14), 1000, []
    for _ in range(1500):
        events = rng.poisson(0.0077 * cells)
        found = limits_of_estimated_rate(events / cells, max(events, 1) ** 0.5 / cells, cells)
        alarms.append(rng.poisson(0.0077 * cells) > found.decision_threshold)
    assert np.mean(alarms) < 0.07


def test_a_curve_that_rests_on_few_events_at_0_gy_says_so():
    points = [DosePoint(d, 1000, x) for d, x in ((0, 2), (0.5, 34), (1, 70), (2, 170), (3, 320), (4, 480))]
    few = dose(fit_curve(points, "mn"), 1000, 40)
    assert any("rests on 2 events in 1000 cells at 0 Gy" in warning for warning in few.warnings)
    enough = fit_curve([DosePoint(0, 3000, 24), *points[1:]], "mn")
    assert not any("rests on" in warning for warning in dose(enough, 1000, 40).warnings)


def test_a_curve_without_an_event_at_0_gy_has_an_uncertain_background():
    points = [DosePoint(d, 500, x) for d, x in ((0, 0), (0.5, 17), (1, 35), (2, 85), (3, 160), (4, 240))]
    curve = fit_curve(points, "mn")
    assert curve.background == 0
    assert curve.background_estimate == (1 / 500, 1 / 500)
    found = dose(curve, 500, 1)
    assert found.below_detection
    assert found.upper > found.lower


# The scatter of slides, and their size.


def test_a_larger_slide_carries_more_of_the_scatter_between_slides():
    curve = scattered(300)
    factors = [dose(curve, n, n // 10).scatter for n in (100, 300, 2000)]
    assert factors[1] == pytest.approx(4.0)
    assert factors[0] < 4 < factors[2]
    assert factors[2] > 1 + 3 / 299 * 1999
    one, four = dose(curve, 2000, 300), dose(curve, 2000, 300, slides=(500, 500, 500, 500))
    assert four.scatter < one.scatter
    assert four.upper - four.lower < one.upper - one.lower
    assert any("score more slides" in warning for warning in one.warnings)


def test_a_curve_that_does_not_say_its_slides_keeps_its_factor():
    curve = make_curve(endpoint="mnbn", about={"fit": {"covariance_factor": 4.0}})
    assert [dose(curve, n, n // 10).scatter for n in (100, 2000)] == [4.0, 4.0]


# Shapes.

QUADRATIC = [DosePoint(d, 2000, round(2000 * (0.01 + 0.02 * d * d)) - (4 if d in (0.5, 1) else 0))
             for d in (0, 0, 0.5, 0.5, 1, 1, 2, 2, 3, 3, 4, 4)]  # fmt: skip


def test_a_quadratic_truth_is_fitted_without_a_linear_term():
    assert fit(Observations.of(QUADRATIC), "linear-quadratic").coefficients[1] < 0
    curve = fit_curve(QUADRATIC, "mn")
    assert (curve.shape, curve.coefficients[1], curve.standard_errors[1]) == ("linear-quadratic", 0, 0)
    assert "held at 0: C + beta D^2" in curve.about["fit"]["model_choice"]
    found = dose(curve, 2000, 60)
    assert found.lower < 1 < found.upper
    assert load_curve_again(curve).shape == "linear-quadratic"


def load_curve_again(curve: Curve) -> Curve:
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "curve.json"
        path.write_bytes(dump_curve(curve))
        return load_curve(path)


def test_doses_that_are_off_the_curve_by_more_than_slides_scatter_are_refused():
    wrong = [DosePoint(d, 5000, x + more) for d, x in ((0, 50), (1, 300), (2, 900), (3, 1000), (4, 2400))
             for more in (-3, 3)]  # fmt: skip
    with pytest.raises(CurveError, match="lack of fit p"):
        fit_curve(wrong, "mn")


def test_a_strongly_saturating_yield_is_no_straight_line():
    concave = [DosePoint(d, 5000, x + more) for d, x in ((0, 50), (1, 700), (2, 1000), (3, 1150), (4, 1200))
               for more in (-4, 4)]  # fmt: skip
    with pytest.raises(CurveError, match="saturates"):
        fit_curve(concave, "mn")


# Cells.


@pytest.mark.parametrize("cells", [1, LEAST_CELLS - 1])
def test_few_cells_give_no_dose(cells):
    found = dose(make_curve(endpoint="mnbn"), cells, 1)
    assert (found.status, found.estimate, found.x) == ("refused", None, 1)
    assert "no dose is given of fewer than 25" in found.warnings[0]


def test_cells_below_those_of_triage_are_said_and_a_million_are_computed():
    assert any("triage needs 200" in warning for warning in dose(make_curve(), 100, 5).warnings)
    many = dose(make_curve(), 1_000_000, 72_100)
    assert many.estimate == pytest.approx(1.0, abs=0.01)
    assert many.lower < many.estimate < many.upper


# Upper ends.


def test_near_saturation_a_dose_has_no_upper_limit():
    curve = make_curve(endpoint="mnbn", coefficients=(0.01, 0.06, 0.0115), dose_range=(0.0, 7.0))
    found = dose(curve, 1000, 990)
    assert found.upper is None
    assert any("no upper limit" in warning for warning in found.warnings)
    assert dose(curve, 1000, 300).upper is not None


def test_a_linear_curve_and_one_without_background_give_doses():
    linear = Curve("linear", "mn", np.array([0.01, 0.06]), np.diag([1e-6, 1e-5]), dose_range=(0.0, 4.0))
    flat = make_curve(coefficients=(0.01, 0.06, 0.0), covariance=np.diag([1e-6, 1e-5, 0.0]))
    assert dose(linear, 1000, 70).estimate == pytest.approx(dose(flat, 1000, 70).estimate)
    above = dose(linear, 1000, 400)
    assert above.above_range
    assert any("extrapolated" in warning for warning in above.warnings)
    none = make_curve(coefficients=(0.0, 0.06, 0.01), covariance=np.diag([0.0, 1e-5, 1e-6]))
    assert dose(none, 1000, 70).lower > 0


def test_merkle_gives_no_interval_without_width():
    curve = make_curve(coefficients=(0.03, 0.05, 0.01), covariance=np.diag([1e-7, 1e-6, 1e-7]))
    found = merkle(curve, Counts.of([1000], [0]), 0.95)
    assert np.isnan(found.upper[0])
    result = dose(curve, 1000, 0, "merkle")
    assert result.upper is None
    assert any("profile method has" in warning for warning in result.warnings)


# Every method at every edge.

METHODS = ("profile", "components", "delta", "merkle")
CURVES = {
    "beta = 0": {"coefficients": (0.01, 0.06, 0.0), "covariance": np.diag([1e-6, 1e-5, 0.0])},
    "alpha = 0": {"coefficients": (0.01, 0.0, 0.02), "covariance": np.diag([1e-6, 0.0, 1e-6])},
    "C = 0": {"coefficients": (0.0, 0.06, 0.01), "covariance": np.diag([0.0, 1e-5, 1e-6])},
    "C = 0, known without error": {"coefficients": (0.0, 0.06, 0.01), "covariance": np.zeros((3, 3))},
}


def with_slides(coefficients, cells=1000):
    """A curve fitted to slides that scatter a little, for `components`."""
    rng, found = np.random.default_rng(2), []
    for d in (0, 0.25, 0.5, 1, 2, 3, 4):
        y = float(np.dot(coefficients, (1, d, d * d)))
        found += [DosePoint(d, cells, int(rng.binomial(cells, y))) for _ in range(3)]
    return fit_curve(found, "mnbn")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("endpoint", ["mn", "mnbn"])
def test_curves_with_a_coefficient_of_0_give_an_interval_about_the_dose(method, curve, endpoint):
    found = dose(make_curve(endpoint=endpoint, **CURVES[curve]), 1000, 80, method)
    assert found.status == "ok"
    assert 0 < found.lower < found.estimate < found.upper
    none = dose(make_curve(endpoint=endpoint, **CURVES[curve]), 1000, 0, method)
    assert (none.estimate, none.lower) == (0, 0)
    assert none.upper is None or none.upper > 0


@pytest.mark.parametrize("coefficients", [(0.01, 0.06, 0.0), (0.0, 0.06, 0.01), (0.01, 0.0, 0.03)])
def test_components_of_curves_with_a_coefficient_of_0(coefficients):
    curve = with_slides(coefficients)
    found = dose(curve, 1000, round(1000 * sum(coefficients)), "components")
    assert found.method == "components"
    assert 0 < found.lower < 1 < found.upper < 3
    none = dose(curve, 1000, 0, "components")
    assert none.lower == 0
    assert none.upper > 0


@pytest.mark.parametrize("method", METHODS)
def test_no_method_bounds_a_dose_near_saturation(method):
    curve = make_curve(endpoint="mnbn", coefficients=(0.01, 0.06, 0.0115), dose_range=(0.0, 7.0))
    found = dose(curve, 1000, 990, method)
    assert found.upper is None
    assert any("no upper limit" in warning for warning in found.warnings)
    all_cells = dose(curve, 1000, 1000, method)
    assert all_cells.upper is None


def test_components_do_not_bound_a_dose_near_saturation():
    found = dose(with_slides((0.01, 0.06, 0.0115)), 1000, 990, "components")
    assert (found.method, found.upper) == ("components", None)


@pytest.mark.parametrize("method", METHODS)
def test_a_dose_above_the_curve_is_extrapolated_and_says_so(method):
    found = dose(make_curve(endpoint="mnbn", dose_range=(0.0, 3.0)), 1000, 500, method)
    assert found.above_range
    assert found.estimate > 3
    assert any("> 3 Gy, where the curve ends" in warning and "extrapolated" in warning for warning in found.warnings)


@pytest.mark.parametrize("method", METHODS)
def test_a_million_cells_are_computed_and_one_is_refused(method):
    many = dose(make_curve(endpoint="mnbn"), 1_000_000, 72_100, method)
    assert many.estimate == pytest.approx(1.0, abs=0.01)
    assert many.lower < 1 < many.upper
    assert many.upper - many.lower < 0.5
    assert dose(make_curve(endpoint="mnbn"), 1, 1, method).status == "refused"


def test_components_of_a_million_cells():
    found = dose(with_slides((0.0077, 0.0459, 0.0185)), 1_000_000, 72_100, "components")
    assert found.method == "components"
    assert found.lower < 1 < found.upper
