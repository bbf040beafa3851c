from __future__ import annotations

from datetime import date

import pytest

from mnbatch.assay.sheet_doubts import donor_doubts

TODAY = date(2026, 6, 1)
DAYS = {
    "exposure_date": "2026-03-01",
    "sampling_date": "2026-03-02",
    "arrival_date": "2026-03-02",
    "culture_date": "2026-03-03",
    "report_date": "2026-03-10",
}


def said(*rows: dict[str, str], donor: str = "D1") -> list[str]:
    named = [(f"s{i}", row) for i, row in enumerate(rows, start=1)]
    return [doubt.warning for doubt in donor_doubts(donor, named, TODAY)]


def test_days_in_an_order_that_cannot_be_are_named_with_their_slides() -> None:
    row = {
        "exposure_date": "2026-05-01",
        "sampling_date": "2026-03-01",
        "arrival_date": "2026-02-01",
        "culture_date": "2026-01-01",
        "report_date": "2025-01-01",
    }
    (found,) = donor_doubts("D1", [("s1", row), ("s2", row)], TODAY)
    assert found.light == "the sample sheet has days that cannot be true"
    for part in (
        "sampling_date 2026-03-01 is before exposure_date 2026-05-01 (s1, s2)",
        "arrival_date 2026-02-01 is before sampling_date 2026-03-01 (s1, s2)",
        "culture_date 2026-01-01 is before arrival_date 2026-02-01 (s1, s2)",
        "report_date 2025-01-01 is before culture_date 2026-01-01 (s1, s2)",
    ):
        assert part in found.warning
    # Warnings are joined with `; ` in donors.csv.
    assert ";" not in found.warning


@pytest.mark.parametrize("row", [{}, DAYS, dict.fromkeys(DAYS, "2026-03-01"), {"report_date": "2026-06-02"}])
def test_days_that_can_be_are_not_doubted(row: dict[str, str]) -> None:
    assert said(row) == []


def test_days_are_compared_across_one_that_is_not_stated() -> None:
    assert "report_date 2026-02-01 is before exposure_date 2026-03-01 (s1)" in "".join(
        said({"exposure_date": "2026-03-01", "report_date": "2026-02-01"})
    )


def test_days_of_a_donors_other_lines_are_taken_where_they_agree() -> None:
    first, then = {"exposure_date": "2026-05-01"}, {"sampling_date": "2026-03-01"}
    assert "exposure_date 2026-05-01 is after sampling_date 2026-03-01 (s1, s2)" in "".join(said(first, then))
    assert said(first, then, {"exposure_date": "2026-02-01", "sampling_date": "2026-05-05"}) == []


def test_a_day_of_another_arrival_is_not_taken_for_one_that_is_left_open() -> None:
    """A day that nobody wrote of that slide made an amber light."""
    first = {"sampling_date": "2025-11-01", "arrival_date": "2025-11-02", "culture_date": "2025-11-03"}
    assert said(first, {"sampling_date": "2025-11-10"}) == []
    assert said(first, {"arrival_date": "2025-11-11"}) == []
    assert said(first, {"culture_date": "2025-11-12", "arrival_date": "2025-11-02"}) == []
    assert said({"culture_date": "2025-11-03"}, {"sampling_date": "2025-11-10", "culture_date": "2025-11-12"}) == []
    exposed = {"exposure_date": "2025-11-09", "sampling_date": "2025-11-10"}
    assert said(first | {"exposure_date": "2025-10-30"}, exposed) == []
    same = {"sampling_date": "2025-11-01", "report_date": "2025-11-02"}
    assert "report_date 2025-11-02 is before culture_date 2025-11-03 (s1, s2)" in "".join(said(first, same))


@pytest.mark.parametrize("column", sorted(DAYS))
def test_a_day_in_the_future_is_doubted(column: str) -> None:
    assert f"{column} 2099-01-01 lies in the future (s1)" in "".join(said({column: "2099-01-01"}))
    assert said({column: "2026-06-02"}) == [], "elsewhere it is tomorrow"
    assert said({column: "2026-06-03"}) != []


@pytest.mark.parametrize("known", [{"dose_gy": "1.0"}, {"control": "yes"}])
def test_blood_of_a_calibration_is_irradiated_after_it_was_taken(known: dict[str, str]) -> None:
    taken = DAYS | {"exposure_date": "2026-03-03"}
    assert said(taken) != []
    assert said(taken | known) == []
    assert "culture_date 2026-03-03 is before exposure_date" in "".join(
        said(taken | known | {"exposure_date": "2026-03-04"})
    )


@pytest.mark.parametrize(
    ("days", "told"),
    [
        (DAYS | {"exposure_date": "2026-03-03"}, "exposure_date 2026-03-03 is after sampling_date 2026-03-02"),
        (
            {"exposure_date": "2026-03-03", "arrival_date": "2026-03-02"},
            "exposure_date 2026-03-03 is after arrival_date 2026-03-02",
        ),
    ],
)
def test_blind_samples_irradiated_in_a_tube_have_no_light(days: dict[str, str], told: str) -> None:
    """Their doses must not be in the sheet (docs/validation.md), and the right days gave an amber light."""
    (found,) = donor_doubts("D1", [("s1", days)], TODAY)
    assert found.warning == f"{told} (s1): right for blood that was irradiated in a tube, else correct the sheet"
    assert found.light == ""


@pytest.mark.parametrize("then", ["culture_date", "report_date"])
def test_an_exposure_after_the_culture_is_amber_also_without_a_dose(then: str) -> None:
    row = {"exposure_date": "2026-03-05", "sampling_date": "2026-03-02", then: "2026-03-04"}
    (found,) = donor_doubts("D1", [("s1", row)], TODAY)
    assert f"{then} 2026-03-04 is before exposure_date 2026-03-05 (s1)" in found.warning
    assert found.light


def test_other_days_of_a_blind_sample_are_amber_as_ever() -> None:
    row = DAYS | {"exposure_date": "2026-03-03", "arrival_date": "2026-03-01"}
    found = donor_doubts("D1", [("s1", row)], TODAY)
    assert [bool(doubt.light) for doubt in found] == [True, False]
    assert "arrival_date 2026-03-01 is before sampling_date 2026-03-02 (s1)" in found[0].warning


def test_a_dose_beyond_those_of_curves_is_doubted() -> None:
    assert "dose_gy is 50 (s1) in the sample sheet, more than 20 Gy" in "".join(said({"dose_gy": "50.0"}, {}))
    assert said({"dose_gy": "20.0"}) == []


def test_a_donor_whose_name_shows_nothing_is_said() -> None:
    (found,) = donor_doubts("\u00a0", [], TODAY)
    assert found.warning.startswith("the donor '\\xa0' has a name that shows nothing")
    assert found.light


def test_a_donor_that_is_a_day_is_a_warning_alone() -> None:
    (found,) = donor_doubts("01.03.2026", [], TODAY)
    assert found.warning.startswith("the donor '01.03.2026' is named by a day")
    assert found.light == ""


def test_a_long_list_is_cut_and_counted() -> None:
    rows = [{"report_date": f"20{year}-01-01"} for year in range(30, 40)]
    assert "5 more. Correct the sheet" in "".join(said(*rows))
