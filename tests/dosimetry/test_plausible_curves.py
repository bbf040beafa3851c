"""Curves in other units than Gy and events a cell are warned of, or refused where they say so."""

import json

import pytest

from mnbatch.dosimetry.calibration_curve import load_curve
from mnbatch.dosimetry.case_tables import CaseCounts
from mnbatch.dosimetry.dose_estimation import Case, DoseOptions, assess, curve_warnings
from mnbatch.dosimetry.plausible_curves import implausible
from mnbatch.errors import UsageError
from tests.dosimetry.dose_helpers import make_curve

CURVE = {
    "model": "linear-quadratic",
    "endpoint": "mn",
    "coefficients": {"C": 0.0077, "alpha": 0.0459, "beta": 0.0185},
    "dose_range": [0, 5],
}


@pytest.fixture
def curve(tmp_path):
    def load(**change):
        (tmp_path / "curve.json").write_text(json.dumps(CURVE | change))
        return load_curve(tmp_path / "curve.json")

    return load


def test_published_curves_are_plausible(curve):
    assert implausible(curve()) == []
    for name in ("serbia2014", "metafer2025", "mayakannan2018"):
        assert implausible(load_curve(f"example:{name}")) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dose_range": [0, 400]}, "are they cGy or mGy"),
        ({"coefficients": {"C": 7.7, "alpha": 45.9, "beta": 18.5}}, "per 100 or per 1000 cells"),
        ({"coefficients": {"C": 0.77, "alpha": 4.59, "beta": 1.85}}, "per 100 or per 1000 cells"),
        ({"coefficients": {"C": 0.0077, "alpha": 0.000459, "beta": 1.85e-6}}, "are its coefficients per cGy or mGy"),
        ({"endpoint": "mnbn", "coefficients": {"C": 0.01, "alpha": 0.2, "beta": 0.1}}, "it reaches 3.51 events a cell"),
    ],
)
def test_a_curve_in_other_units_is_warned_of_with_every_dose(curve, change, words):
    assert any(words in text for text in curve_warnings(curve(**change)))


@pytest.mark.parametrize("stated", [{"dose_unit": "cGy"}, {"yield_unit": "per 1000 cells"}, {"per_cells": 1000}])
def test_a_curve_that_states_another_unit_is_refused(curve, stated):
    with pytest.raises(UsageError, match="give coefficients in events a cell and Gy"):
        curve(**stated)


def test_stated_units_that_are_ours_are_taken(curve):
    assert curve(dose_unit="Gy", per_cells=1).about == {"dose_unit": "Gy", "per_cells": 1}


@pytest.mark.parametrize("scoring", [{"mode": "automated (Metafer)"}, {"mode": "x", "model_digest": "ab"}])
def test_bare_counts_have_no_dose_on_a_curve_of_automatic_scores(scoring):
    case = Case("d", CaseCounts(1000, 50))
    refused = assess([case], make_curve(scoring=scoring), DoseOptions())[0]
    assert (refused.status, refused.estimate) == ("refused", None)
    assert "State it in a column scoring" in refused.warnings[0]
    allowed = assess([case], make_curve(scoring=scoring), DoseOptions(allow_mismatch=True))[0]
    assert allowed.status == "ok"
    assert allowed.warnings[0].endswith("does not say how it was; allowed")
    said = Case("d", CaseCounts(1000, 50), scoring={"mode": scoring["mode"]})
    assert assess([said], make_curve(scoring=scoring), DoseOptions())[0].status == "ok"
