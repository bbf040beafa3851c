"""Doses by components of variance: what a curve's slides show, and limits from it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mnbatch.dosimetry.calibration_curve import CurveFile, dump_curve
from mnbatch.dosimetry.case_tables import CaseCounts
from mnbatch.dosimetry.component_doses import decision_threshold, dose_limits, tail_above
from mnbatch.dosimetry.curve_fitting import fit_curve
from mnbatch.dosimetry.dose_estimation import Case, DoseOptions, assess, chosen_method
from mnbatch.dosimetry.likelihood_fits import DosePoint
from mnbatch.dosimetry.threshold_frequency import threshold_of_dose
from mnbatch.dosimetry.triage import triage
from mnbatch.dosimetry.variance_components import CaseSlides, components_of, unknown_components
from mnbatch.errors import UsageError
from tests.dosimetry.dose_helpers import make_curve

DOSES = (0, 0.25, 0.5, 1, 1.5, 2, 3, 4)


def points(cells=1000, slides=3, spread=0.0, persons=0, seed=5, induced=0.0):
    rng, found = np.random.default_rng(seed), []
    for d in DOSES:
        for j in range(slides):
            y = 0.03 + (0.0459 * d + 0.0185 * d * d) * (1 + induced * rng.standard_normal())
            y = float(np.clip(y + spread * rng.standard_normal(), 0.002, 0.98))
            donor = f"Person {(j + DOSES.index(d)) % persons}" if persons else ""
            found.append(DosePoint(d, cells, int(rng.binomial(cells, y)), donor=donor))
    return found


@pytest.fixture(scope="module")
def even():
    return fit_curve(points(), "mnbn", scoring={"mode": "confirmed (mnbatch)"})


@pytest.fixture(scope="module")
def uneven():
    return fit_curve(points(spread=0.02), "mnbn", scoring={"mode": "automated"})


def dose(curve, cells, events, slides=(), **options):
    case = Case("d", CaseCounts(cells, events), scoring=dict(curve.scoring), slide_cells=slides)
    return assess([case], curve, DoseOptions(method="components", **options))[0]


def test_slides_that_differ_are_told_from_slides_that_do_not(even, uneven):
    assert np.median(components_of(even).slide) < 0.006
    assert 0.012 < np.median(components_of(uneven).slide) < 0.03


def test_the_interval_holds_the_dose_and_narrows_with_slides(uneven):
    one, four = dose(uneven, 2000, 189), dose(uneven, 2000, 189, (500,) * 4)
    assert (one.method, one.status) == ("components", "ok")
    assert one.lower < 1 < one.upper
    assert four.upper - four.lower < one.upper - one.lower
    assert four.lower < 1 < four.upper


def test_more_cells_of_one_slide_do_not_make_up_for_its_spread(uneven):
    widths = [d.upper - d.lower for d in (dose(uneven, n, round(0.0944 * n)) for n in (300, 3000, 1_000_000))]
    assert widths[0] > widths[1] > widths[2] > 0.3


def test_tails_rise_with_dose_and_meet_the_limits(even):
    known, case = components_of(even), CaseSlides(95, (1000,))
    tails = [tail_above(known, d, case) for d in np.linspace(0, 4, 20)]
    assert tails == sorted(tails)
    low, high = dose_limits(known, case, 0.95)
    assert tail_above(known, low, case) == pytest.approx(0.025, abs=2e-3)
    assert tail_above(known, high, case) == pytest.approx(0.975, abs=2e-3)


def test_no_event_has_an_upper_limit_above_0_gy(even):
    found = dose(even, 1000, 0)
    assert (found.estimate, found.lower, found.below_detection) == (0, 0, True)
    assert found.upper > 0.02
    assert any("significantly fewer events" in warning for warning in found.warnings)


def test_the_threshold_is_exceeded_by_few_unexposed(even):
    known = components_of(even)
    threshold = decision_threshold(known, (1000,), 1.0, 0.05)
    unexposed = np.random.default_rng(1).binomial(1000, even.background, 4000)
    assert 0.001 < (unexposed > threshold).mean() < 0.05
    assert not dose(even, 1000, threshold + 1).below_detection


def test_persons_are_known_where_the_curve_names_four():
    named = fit_curve(points(persons=5), "mnbn", scoring={"mode": "confirmed"})
    two = fit_curve(points(persons=2), "mnbn", scoring={"mode": "confirmed"})
    assert components_of(named).persons_known
    assert not components_of(two).persons_known
    said = [any("is guessed from the scatter" in w for w in dose(curve, 1000, 60).warnings) for curve in (named, two)]
    assert said == [False, True]
    own_dose = [replace(p, donor=f"Person {p.dose}") for p in points(slides=2)]
    assert not components_of(fit_curve(own_dose, "mnbn", scoring={"mode": "automated"})).persons_known


def test_a_curve_file_has_numbers_for_persons_and_no_names():
    data = dump_curve(fit_curve(points(persons=4), "mnbn"))
    assert b"Person" not in data
    again = CurveFile.model_validate(json.loads(data)).curve()
    assert components_of(again).persons_known


@pytest.mark.parametrize(
    ("curve", "reason"),
    [
        (make_curve(endpoint="mnbn"), "does not carry the slides"),
        (fit_curve(points(slides=1), "mnbn"), "8 slides at 8 doses; 10 slides"),
    ],
)
def test_a_curve_without_slides_says_so_and_gives_the_profile_interval(curve, reason):
    assert reason in unknown_components(curve)
    found = dose(curve, 1000, 80)
    plain = assess([Case("d", CaseCounts(1000, 80))], curve, DoseOptions())[0]
    assert (found.method, found.lower, found.upper) == ("profile", plain.lower, plain.upper)
    assert any("no components of variance" in warning for warning in found.warnings)


def test_a_curve_carried_to_another_scorer_has_no_components(even):
    carried = even.as_scored(0.9, 0.01, np.eye(2) * 1e-5)
    assert "another scorer's scale" in unknown_components(carried)


def test_micronuclei_and_triage_and_protraction(uneven):
    of_mn = fit_curve(points(), "mn", scoring={"mode": "automated"})
    found = dose(of_mn, 1000, 95)
    assert found.lower < 1 < found.upper
    high = dose(uneven, 1000, 560)
    assert triage([high], uneven)[0].verdict == "above 1 Gy"
    slow = dose(uneven, 1000, 300, g=0.5)
    assert slow.lower > dose(uneven, 1000, 300).lower


def test_the_frequency_at_a_dose_is_wider_where_slides_differ(even, uneven):
    sharp = threshold_of_dose(even, 1.0, 0.0025)
    assert sharp.low < 0.0944 < sharp.high
    loose = threshold_of_dose(fit_curve(points(spread=0.02), "mnbn", scoring={"mode": "reviewed"}), 1.0, 0.0025)
    assert loose.high - loose.low > 2 * (sharp.high - sharp.low)
    with pytest.raises(UsageError, match="automatic counts"):
        threshold_of_dose(uneven, 1.0, 0.0025)
    with pytest.raises(UsageError, match="ends at 4 Gy"):
        threshold_of_dose(even, 5.0, 0.0025)


def test_a_column_of_donors_is_read_from_a_calibration_table_and_said_nowhere_as_unread():
    from mnbatch.dosimetry.calibration_tables import read_points, table_notes

    rows = "\n".join(f"{p.donor},{p.dose:g},{p.cells},{p.events}" for p in points(persons=4))
    table = f"Donor,D,N,X\n{rows}\n".encode()
    assert components_of(fit_curve(read_points(table, "mnbn"), "mnbn")).persons_known
    assert not any("Donor" in note for note in table_notes(table))


def test_automatic_takes_components_where_they_were_measured(even, uneven):
    by_eye = fit_curve(points(), "mnbn", scoring={"mode": "manual"})
    of_mn = fit_curve(points(), "mn", scoring={"mode": "automated"})
    chosen = [chosen_method(curve, "automatic") for curve in (even, uneven, by_eye, of_mn)]
    assert chosen == [("components", ""), ("components", ""), ("profile", ""), ("profile", "")]
    few = fit_curve(points(slides=1), "mnbn", scoring={"mode": "confirmed (mnbatch)"})
    method, note = chosen_method(few, "automatic")
    assert (method, "8 slides at 8 doses" in note) == ("profile", True)
    assert chosen_method(even, "profile") == ("profile", "")


def test_few_events_at_background_leave_a_long_tail_upwards_and_nothing_below_zero():
    rare = [DosePoint(p.dose, p.cells, 3 if p.dose == 0 else p.events) for p in points(slides=2)]
    known = components_of(fit_curve(rare, "mnbn", scoring={"mode": "confirmed (mnbatch)"}))
    order = np.argsort(known.coefficients[:, 0])
    c, at_most = known.coefficients[order, 0], np.cumsum(known.weight[order])
    low, middle, high = c[np.searchsorted(at_most, [0.05, 0.5, 0.95])]
    assert high - middle > 1.2 * (middle - low) > 0
    assert known.weight[(known.coefficients < 1e-5).any(axis=1)].sum() < 1e-6


def test_people_differ_whoever_counts_and_slides_do_not_make_up_for_it():
    """Of confirmed counts what differs at background is the person; of a model's calls it is the slide."""
    counted = points(spread=0.01, slides=2)
    confirmed, calls = (
        fit_curve(counted, "mnbn", scoring={"mode": mode}) for mode in ("confirmed (mnbatch)", "automated")
    )
    gain = []
    for curve in (confirmed, calls):
        one, four = (decision_threshold(components_of(curve), cells, 1.0, 0.05) for cells in ((2000,), (500,) * 4))
        gain.append(one - four)
    assert gain[0] == 0 < gain[1]


def test_interpolated_tails_are_those_of_the_draws(uneven):
    of_mn = fit_curve(points(), "mn", scoring={"mode": "automated"})
    counts = [(30, (1000,)), (300, (500, 500)), (30_000, (1_000_000,))]
    for known in (components_of(uneven), components_of(of_mn)):
        for case in (CaseSlides(events, cells) for events, cells in counts):
            for limit, target in zip(dose_limits(known, case, 0.95), (0.025, 0.975), strict=True):
                if limit > 0:
                    assert tail_above(known, limit, case) == pytest.approx(target, abs=2e-3)
