from __future__ import annotations

import pytest

from mnbatch.assay.sheet_contradictions import contradictions


def columns(*rows: dict[str, str]) -> list[str]:
    return [one.column for one in contradictions([(f"s{i}", row) for i, row in enumerate(rows, start=1)])]


def test_what_two_lines_of_a_donor_state_differently_is_named_with_its_slides() -> None:
    one = {"sex": "f", "age": "30", "dose_gy": "0.5", "control": "yes", "sampling_date": "2026-03-01"}
    other = {"sex": "m", "age": "50", "dose_gy": "1.5", "control": "", "sampling_date": "2026-04-01"}
    found = contradictions([("s1", one), ("s2", other)])
    assert [(f.column, f.certain) for f in found] == [
        ("sex", True),
        ("age", True),
        ("dose_gy", True),
        ("control", True),
        ("sampling_date", False),
    ]
    said = [f.warning.partition(" in the sample sheet: ")[0] for f in found]
    assert said == [
        "sex is f (s1) and m (s2)",
        "age is 30 (s1) and 50 (s2)",
        "dose_gy is 0.5 (s1) and 1.5 (s2)",
        "control is negative (s1) and not marked (s2)",
        "sampling_date is 2026-03-01 (s1) and 2026-04-01 (s2)",
    ]
    # They are joined with `; ` in donors.csv.
    assert not any(";" in f.warning for f in found)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {}),
        ({"sex": "f", "age": "41", "dose_gy": "0"}, {}),
        ({"dose_gy": "0.50", "age": "41.0"}, {"dose_gy": "0.5", "age": "41"}),
        ({"control": "yes"}, {"control": "yes"}),
        ({"culture": "A", "note": "x", "culture_date": "2026-03-01"}, {"culture": "B", "culture_date": "2026-03-02"}),
    ],
)
def test_what_is_not_stated_or_may_differ_contradicts_nothing(one: dict[str, str], other: dict[str, str]) -> None:
    assert columns(one, other) == []


@pytest.mark.parametrize(
    ("ages", "days", "differ"),
    [
        (("41", "42"), ("", ""), True),
        (("41", "42"), ("2026-03-01", ""), True),
        (("41", "42"), ("2026-03-01", "2026-03-01"), True),
        (("41", "42"), ("2026-03-01", "2026-04-01"), False),
        (("42", "41"), ("2026-03-01", "2026-06-01"), True),
        (("41", "47"), ("2020-03-01", "2026-04-01"), False),
        (("41", "50"), ("2020-03-01", "2026-04-01"), True),
    ],
)
def test_a_person_is_older_at_a_later_sampling(ages: tuple[str, str], days: tuple[str, str], differ: bool) -> None:
    rows = [{"age": age, "sampling_date": day} for age, day in zip(ages, days, strict=True)]
    assert ("age" in columns(*rows)) is differ


def test_a_long_list_is_cut_and_counted() -> None:
    rows = [(f"s{i}", {"dose_gy": str(i % 6)}) for i in range(30)]
    (found,) = contradictions(rows)
    assert found.warning.startswith("dose_gy is 0 (s0, s6, s12, 2 more), 1 (s1, s7, s13, 2 more), ")
    assert "(s3, s9, s15, 2 more), 2 more in the sample sheet" in found.warning
