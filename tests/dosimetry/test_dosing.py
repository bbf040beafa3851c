import json

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mnbatch.assay.classifier_error import CountedRate, rogan_gladen
from mnbatch.dosimetry.calibration_curve import Curve, dump_curve, example_names, load_curve
from mnbatch.dosimetry.case_tables import CaseCounts
from mnbatch.dosimetry.curve_fitting import fit_curve
from mnbatch.dosimetry.dose_estimation import Case, DoseOptions, assess
from mnbatch.dosimetry.dose_intervals import Counts, profile
from mnbatch.dosimetry.likelihood_fits import DosePoint
from mnbatch.dosimetry.scorer_error import counted_rate, curve_seen_by
from mnbatch.dosimetry.triage import CLASSES, triage
from mnbatch.errors import CurveError, UsageError
from tests.assay.vectors import with_case
from tests.dosimetry.dose_helpers import make_curve

RISING = [DosePoint(d, 2000, x) for d, x in ((0, 16), (0.5, 68), (1, 140), (2, 340), (3, 640), (4, 960))]


def case_of(cells, events, counts=(), **more):
    return Case("d", CaseCounts(cells, events, counts), **more)


@pytest.mark.parametrize(
    ("curve_endpoint", "case"),
    [
        ("mn", case_of(1000, 50, scoring={"endpoint": "mnbn"})),
        ("mnbn", case_of(1000, 50, scoring={"endpoint": "mn"})),
        ("mnbn", case_of(1000, 50, counts=(960, 30, 10))),
    ],
)
def test_a_case_of_the_other_endpoint_is_refused(curve_endpoint, case):
    found = assess([case], make_curve(endpoint=curve_endpoint), DoseOptions(allow_mismatch=True))[0]
    assert found.status == "refused"
    assert "the curve" in found.warnings[0]


def test_mnbn_is_binomial_and_has_no_dispersion_index():
    curve = make_curve(endpoint="mnbn")
    found = assess([case_of(1000, 300, counts=(700, 300))], curve, DoseOptions())[0]
    assert (found.dispersion_index, found.u) == (None, None)
    poisson = assess([case_of(1000, 300)], make_curve(), DoseOptions())[0]
    assert found.upper - found.lower < poisson.upper - poisson.lower


def test_scatter_between_the_slides_of_an_mnbn_curve_widens_the_case():
    plain = make_curve(endpoint="mnbn")
    scattered = make_curve(endpoint="mnbn", about={"fit": {"covariance_factor": 4.0}})
    narrow, wide = (assess([case_of(1000, 120)], curve, DoseOptions())[0] for curve in (plain, scattered))
    assert (wide.n, wide.x, wide.yield_, wide.estimate) == (1000, 120, 0.12, narrow.estimate)
    assert wide.upper - wide.lower > 1.5 * (narrow.upper - narrow.lower)
    assert wide.limits.decision_threshold > narrow.limits.decision_threshold
    assert wide.detection_dose > narrow.detection_dose
    assert any("scatter 4.0 times" in warning for warning in wide.warnings)
    micronuclei = make_curve(about={"fit": {"covariance_factor": 4.0}})
    assert micronuclei.slide_scatter == 1  # there the case has a dispersion index of its own


@pytest.mark.parametrize(
    ("own", "curves"),
    [({"mode": "manual"}, {"mode": "automated"}), ({"threshold": "0.4"}, {"threshold": 0.5}),
     ({"model_digest": "ab"}, {"model_digest": "cd"})],
)  # fmt: skip
def test_another_scoring_is_refused_unless_allowed_and_then_shown(own, curves):
    curve, case = make_curve(scoring=curves), case_of(1000, 50, scoring=own)
    refused = assess([case], curve, DoseOptions())[0]
    assert refused.status == "refused"
    assert "scored differently from the curve" in refused.warnings[0]
    allowed = assess([case], curve, DoseOptions(allow_mismatch=True))[0]
    assert allowed.status == "ok"
    assert "and allowed" in allowed.warnings[0]


def test_what_is_not_stated_or_the_same_does_not_clash():
    curve = make_curve(scoring={"mode": "Manual", "threshold": 0.5})
    for own in ({}, {"mode": "manual "}, {"threshold": "0.50"}):
        assert assess([case_of(1000, 50, scoring=own)], curve, DoseOptions())[0].status == "ok"


def test_triage_sorts_and_its_probabilities_sum_to_one():
    curve = make_curve()
    cases = [case_of(1000, x) for x in (35, 110, 500)] + [Case("bad", None, "empty")]
    results = assess(cases, curve, DoseOptions())
    found = triage(results, curve)
    assert [t.category for t in found[:3]] == list(CLASSES)
    assert [t.verdict for t in found[:3]] == ["below 1 Gy", "above 1 Gy", "above 1 Gy"]
    assert found[3] is None
    for t in found[:3]:
        assert sum(t.probabilities) == pytest.approx(1)
        assert "0 to 10 Gy equally likely" in t.prior
    assert found[2].probability > 0.99


def test_the_class_is_the_likeliest_and_the_verdict_follows_its_probability():
    curve = load_curve("example:mayakannan2018")
    (result,) = assess([case_of(200, 9)], curve, DoseOptions())
    (found,) = triage([result], curve)
    assert result.estimate == pytest.approx(0.75, abs=0.02)
    below_1, below_2 = found.probabilities[0], sum(found.probabilities[:2])
    assert below_1 > 0.5  # everything below 1 Gy, not what is left above a detection limit
    assert found.category == "< 1 Gy"
    assert found.probability == max(found.probabilities)
    assert found.above == pytest.approx((1 - below_1, 1 - below_2))
    assert found.verdict == "open: above or below 1 Gy"
    assert set(found.to_json()["probabilities"]) == set(CLASSES)
    assert found.to_json()["above"]["> 1 Gy"] == pytest.approx(1 - below_1, abs=1e-6)


def test_triage_probability_is_the_share_of_the_likelihood():
    curve = make_curve(covariance=np.zeros((3, 3)))
    result = assess([case_of(500, 40)], curve, DoseOptions())[0]
    found = triage([result], curve)[0]
    doses = np.linspace(0, 10, 200001)
    mean = 500 * curve.yields(doses)
    weight = np.exp(40 * np.log(mean) - mean - (40 * np.log(40) - 40))
    assert found.probabilities[1] == pytest.approx(weight[(doses >= 1) & (doses < 2)].sum() / weight.sum(), abs=0.002)


def test_scorer_error_gives_the_corrected_dose_with_a_wider_interval():
    curve = make_curve(endpoint="mnbn")
    se, sp = CountedRate(255, 300), CountedRate(1980, 2000)
    seen = curve_seen_by(curve, se, sp)
    counts = Counts.of([1000], [150])
    found = profile(seen, counts, 0.95)
    expected, _ = curve.root([rogan_gladen(0.15, se.value, sp.value)])
    assert_allclose(found.estimate, expected)
    exact = profile(
        curve_seen_by(curve, CountedRate(255 * 10**6, 300 * 10**6), CountedRate(198 * 10**7, 2 * 10**9)), counts, 0.95
    )
    assert found.upper[0] - found.lower[0] > exact.upper[0] - exact.lower[0]
    micronuclei = curve_seen_by(make_curve(), se, sp)
    assert micronuclei.background == pytest.approx(0.85 * make_curve().background + 0.01)


@pytest.mark.parametrize("text", ["0.85", "3/2", "a/b", ""])
def test_rates_without_their_counts_are_refused(text):
    with pytest.raises(UsageError, match="not a counted rate"):
        counted_rate("--sensitivity", text)
    with pytest.raises(UsageError, match="no better than guessing"):
        curve_seen_by(make_curve(), CountedRate(1, 10), CountedRate(1, 10))


def test_fit_states_its_choices_and_its_goodness():
    curve = fit_curve(RISING, "mn")
    fitted = curve.about["fit"]
    assert curve.shape == "linear-quadratic"
    assert fitted["family"] in ("poisson", "quasi-poisson")
    assert "above 1" in fitted["family_choice"]
    assert fitted["df"] == 3
    assert 0 < fitted["p_pearson"] <= 1
    assert [p["dose"] for p in fitted["points"]] == [0, 0.5, 1, 2, 3, 4]
    assert curve.dose_range == (0, 4)
    binomial = fit_curve(RISING, "mnbn")
    assert binomial.about["fit"]["family"] in ("binomial", "quasi-binomial")


def test_quasi_poisson_never_narrows():
    under = [DosePoint(d, 10**6, round(1e6 * (0.01 + 0.05 * d + 0.02 * d * d))) for d in range(6)]
    assert fit_curve(under, "mn", family="quasi-poisson").about["fit"]["covariance_factor"] == 1
    assert fit_curve(under, "mn").about["fit"]["family"] == "poisson"


def test_saturating_data_become_linear_only_when_the_choice_is_free():
    concave = [DosePoint(d, 1000, x) for d, x in ((0, 20), (1, 120), (2, 200), (3, 260), (4, 300))]
    automatic = fit_curve(concave, "mn")
    assert automatic.shape == "linear"
    assert "would be negative" in automatic.about["fit"]["model_choice"]
    with pytest.raises(CurveError, match=r"turns down at 5\.5 Gy"):
        fit_curve(concave, "mn", model="linear-quadratic")


def test_negative_binomial_curves_and_families_that_do_not_fit():
    points = [
        DosePoint(d, 1000, x + 2 * y, (1000 - x - y, x, y))
        for d, x, y in ((0, 8, 1), (1, 60, 6), (2, 150, 16), (3, 260, 40))
    ]
    curve = fit_curve(points, "mn", model="linear-quadratic", family="nb1")
    assert curve.about["fit"]["alpha"] > 0
    with pytest.raises(CurveError, match="needs C0, C1"):
        fit_curve(RISING, "mn", family="nb2")
    with pytest.raises(CurveError, match="does not go with the endpoint"):
        fit_curve(RISING, "mnbn", family="poisson")


def test_curve_file_round_trip(tmp_path):
    curve = fit_curve(RISING, "mn", scoring={"mode": "manual", "threshold": 0.5})
    path = tmp_path / "curve.json"
    path.write_bytes(dump_curve(curve))
    again = load_curve(path)
    assert_allclose(again.coefficients, curve.coefficients)
    assert_allclose(again.covariance, curve.covariance)
    assert (again.shape, again.endpoint, again.dose_range, dict(again.scoring)) == (
        curve.shape, "mn", (0, 4), {"mode": "manual", "threshold": 0.5},
    )  # fmt: skip
    content = json.loads(path.read_text())
    assert set(content["coefficients"]) == {"C", "alpha", "beta"}
    linear = json.loads(dump_curve(fit_curve(RISING[:3], "mn", model="linear")))
    assert set(linear["coefficients"]) == {"C", "alpha"}
    assert len(linear["covariance"]) == 2


def test_examples_are_marked_and_load():
    assert len(example_names()) == 3
    for name in example_names():
        curve = load_curve(name)
        assert curve.about["example"] is True
        assert curve.about["name"].startswith("EXAMPLE")
        result = assess([case_of(1000, 200, scoring=curve.scoring)], curve, DoseOptions())[0]
        assert result.status == "ok"
        assert any("example curve" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("example", "entry"),
    with_case(
        "published",
        {
            "serbia2014": "pub:serbia2014:MN",
            "metafer2025": "pub:bjrs2025:automated",
            "mayakannan2018": "pub:mayakannan2018:MN",
        },
    ),
)
def test_vectors_published_curves_are_the_examples(example, entry):
    curve = load_curve(f"example:{example}")
    assert_allclose(curve.coefficients, list(entry["coeffs"].values()), rtol=1e-6)
    if entry["std_err"]:
        assert_allclose(curve.standard_errors, list(entry["std_err"].values()), rtol=1e-6)


GOOD = {"model": "linear-quadratic", "endpoint": "mn", "coefficients": {"C": 0.01, "alpha": 0.05, "beta": 0.02}}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": "cubic"}, "model"),
        ({"endpoint": "dicentric"}, "endpoint"),
        ({"coefficients": {"C": 0.01, "alpha": 0.05}}, "has the coefficients C, alpha, beta"),
        ({"coefficients": {"C": 0.01, "alpha": "much", "beta": 1}}, "coefficients.alpha"),
        ({"covariance": [[1, 0], [0, 1]]}, "3 rows of 3 numbers"),
        ({"standard_errors": {"C": 0.1, "alpha": 0.1}}, "standard errors are 3 numbers"),
        ({"standard_errors": [0.1, -0.1, 0.1]}, "standard errors are 3 numbers"),
        ({"dose_range": [4, 0]}, "dose_range"),
    ],
)
def test_files_that_are_no_curve_say_why(tmp_path, change, reason):
    path = tmp_path / "curve.json"
    path.write_text(json.dumps(GOOD | change))
    with pytest.raises(UsageError, match=reason):
        load_curve(path)


def test_curve_files_take_errors_by_name_or_order_and_free_scoring(tmp_path):
    path = tmp_path / "curve.json"
    for errors in ({"C": 0.001, "alpha": 0.002, "beta": 0.003}, [0.001, 0.002, 0.003]):
        path.write_text(json.dumps(GOOD | {"standard_errors": errors, "scoring": "manual"}))
        curve = load_curve(path)
        assert isinstance(curve, Curve)
        assert curve.uncertainty == "standard errors"
        assert_allclose(curve.standard_errors, [0.001, 0.002, 0.003])
        assert curve.scoring == {"mode": "manual"}
    path.write_text("{")
    with pytest.raises(UsageError, match="is not a curve"):
        load_curve(path)
    with pytest.raises(UsageError, match="no curve file"):
        load_curve(tmp_path / "none.json")
    with pytest.raises(UsageError, match="Examples are"):
        load_curve("example:nothing")


def test_counts_of_a_classifier_carry_the_scatter_between_slides_and_counts_of_a_person_do_not() -> None:
    def curve(mode: str) -> Curve:
        return Curve(
            "linear-quadratic",
            "mn",
            np.array([0.06, 0.07, 0.015]),
            np.diag([1e-6, 1e-6, 1e-7]),
            scoring={"mode": mode},
            about={"fit": {"covariance_factor": 7.6}},
        )

    assert curve("manual").slide_scatter == 1
    assert curve("automated (mnbatch)").slide_scatter == 7.6
