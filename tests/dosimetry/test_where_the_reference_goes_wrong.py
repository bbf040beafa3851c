"""The eleven points of the developers' notes on the reference tool, one test each, in their order."""

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mnbatch.dosimetry.case_tables import CaseCounts
from mnbatch.dosimetry.curve_fitting import fit_curve
from mnbatch.dosimetry.dose_estimation import Case, DoseOptions, assess
from mnbatch.dosimetry.likelihood_fits import DosePoint
from mnbatch.errors import CurveError
from tests.dosimetry.dose_helpers import make_curve


def case_of(*counts, name="d1", **more):
    return Case(name, CaseCounts(sum(counts), sum(k * n for k, n in enumerate(counts)), counts), **more)


def dose_of(case, curve=None, **options):
    return assess([case], curve or make_curve(), DoseOptions(**options))[0]


def said(result, words):
    return any(words in warning for warning in result.warnings)


@pytest.mark.parametrize("method", ["profile", "delta"])
def test_1_a_case_below_background_has_an_interval_with_a_real_upper_bound(method):
    found = dose_of(case_of(1999, 1), method=method)
    assert (found.estimate, found.lower) == (0, 0)
    assert found.upper > 0.005
    assert found.below_detection
    assert said(found, "significantly fewer events than the curve's background")
    ordinary = dose_of(case_of(994, 6), method=method)
    assert ordinary.below_detection
    assert not said(ordinary, "significantly fewer")


def test_2_the_observed_yield_is_never_altered():
    for counts in ((500,), (1999, 1), (100, 80, 50, 30, 10, 4)):
        found = dose_of(case_of(*counts))
        assert found.yield_ == found.x / found.n == sum(k * n for k, n in enumerate(counts)) / sum(counts)


@pytest.mark.parametrize("method", ["merkle", "delta", "profile"])
def test_3_the_interval_does_not_jump_as_the_dispersion_index_passes_1(method):
    below, above = case_of(1814, 172, 14), case_of(1815, 170, 15)  # 2000 cells, 200 micronuclei
    found = [dose_of(case, method=method) for case in (below, above)]
    assert found[0].dispersion_index < 1.05 < found[1].dispersion_index + 0.05
    widths = [result.upper - result.lower for result in found]
    assert widths[1] == pytest.approx(widths[0], rel=0.02)
    wide = dose_of(case_of(1870, 80, 40, 10, 0), method=method)  # far above 1
    assert wide.upper - wide.lower > widths[0]


def test_4_one_bad_case_leaves_the_others_alone():
    bad = Case("d2", None, "C0 = -3 is negative")
    first, second, third = assess([case_of(950, 50), bad, case_of(900, 100)], make_curve(), DoseOptions())
    assert [first.status, second.status, third.status] == ["ok", "failed", "ok"]
    assert second.estimate is None
    assert second.warnings == ("C0 = -3 is negative",)


def test_5_a_curve_that_turns_down_is_refused_with_the_reason():
    found = dose_of(case_of(950, 50), make_curve(coefficients=[0.01, 0.05, -0.004]))
    assert found.status == "refused"
    assert said(found, "turns down at 6.25 Gy")
    assert (found.n, found.x, found.estimate, found.upper) == (1000, 50, None, None)
    assert found.yield_ == 0.05


def test_6_a_dose_above_the_range_is_labelled_as_extrapolated():
    found = dose_of(case_of(100, 80, 50, 30, 10, 4))
    assert found.above_range
    assert said(found, "> 5 Gy, where the curve ends")
    assert said(found, "extrapolated")
    inside = dose_of(case_of(950, 50))
    assert inside.above_range is False
    assert not said(inside, "extrapolated")


@pytest.mark.parametrize("method", ["merkle", "delta", "profile"])
def test_7_an_endless_exposure_has_the_linear_limit(method):
    case = case_of(870, 120, 10)
    found = dose_of(case, method=method, g=0.0)
    curve = make_curve()
    assert found.estimate == pytest.approx((0.14 - curve.background) / curve.coefficients[1], rel=1e-9)
    assert 0 < found.lower < found.estimate < found.upper
    nearly = dose_of(case, method=method, g=1e-9)
    assert_allclose([nearly.lower, nearly.upper], [found.lower, found.upper], rtol=1e-4)


def test_8_missing_covariance_is_said_and_changes_no_level():
    bare = make_curve(covariance=np.zeros((3, 3)), uncertainty="none")
    diagonal = make_curve(covariance=np.diag(make_curve().covariance.diagonal()), uncertainty="standard errors")
    found = [dose_of(case_of(870, 120, 10), curve, level=0.83) for curve in (bare, diagonal)]
    assert said(found[0], "no uncertainty")
    assert said(found[1], "standard errors only")
    assert [result.level for result in found] == [0.83, 0.83]
    wider = dose_of(case_of(870, 120, 10), bare, level=0.95)
    assert wider.upper > found[0].upper


def test_9_characteristic_limits_have_no_cap():
    found = dose_of(case_of(19000, 900, 100), make_curve(coefficients=[0.05, 0.0459, 0.0185]))
    assert found.limits.decision_threshold > 1000
    assert found.limits.detection_limit > found.limits.decision_threshold
    assert 0 < found.decision_dose < found.detection_dose < 0.2
    assert not found.below_detection


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([(0, 300), (1, 260), (2, 200), (3, 120), (4, 20)], "falls with dose"),
        ([(2, 20), (2, 22), (2, 21), (2, 25)], "1 different doses"),
        ([(0, 20), (1, 21), (2, 19), (3, 21), (4, 20)], "does not rise with dose"),
        ([(0, 20), (4, 300)], "no degree of freedom"),
    ],
)
def test_10_data_that_give_no_curve_are_refused(rows, reason):
    points = [DosePoint(d, 1000, x) for d, x in rows]
    with pytest.raises(CurveError, match=reason):
        fit_curve(points, "mn")


def test_11_high_u_flags_partial_exposure_and_gives_no_number():
    found = dose_of(case_of(470, 0, 30))  # thirty cells with two micronuclei each
    assert found.u > 10
    assert said(found, "possible partial-body exposure, for which no dose is given")
    background = dose_of(case_of(498, 0, 2))  # two doublets, which a background has as well
    assert background.u > 15
    assert background.below_detection
    assert said(background, "overdispersed")
    assert not said(background, "partial-body")
    assert not any("partial" in key for key in json.loads(json.dumps(found.to_json())))
    assert not said(dose_of(case_of(950, 50)), "partial-body")
