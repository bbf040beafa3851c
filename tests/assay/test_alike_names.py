from __future__ import annotations

import pytest

from mnbatch.assay.alike_names import alike_donors, alike_names, alike_warning, shows_nothing, spelled


@pytest.mark.parametrize(
    "other", ["d01", "D01 ", " D01", "D 01", "D01\u200b", "D01\ufeff", "D\u00a001", "D01\u00ad", "\uff2401"]
)
def test_names_that_read_the_same_are_found(other: str) -> None:
    assert alike_names(["D01", "D02", other]) == (("D01", other),)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("D-1", "D\u20131"),
        ("D-1", "D\u20111"),
        ("AB", "\u0410B"),
        ("MAX", "\u039c\u0391\u03a7"),
        ("pop", "\u0440\u043e\u0440"),
    ],
)
def test_dashes_and_letters_that_look_alike_are_found(one: str, other: str) -> None:
    assert alike_names([one, other]) == ((one, other),)


@pytest.mark.parametrize("other", ["D02", "D1", "D01a", "D-01", "DO1"])
def test_other_names_are_not(other: str) -> None:
    assert alike_names(["D01", other]) == ()


def test_what_shows_nothing_is_spelled_out() -> None:
    assert spelled("D01\u200b") == "'D01\\u200b'"
    assert spelled("D01 ") == "'D01 '"


@pytest.mark.parametrize(
    ("one", "other"),
    [("007", "7"), ("P007", "P7"), ("D01", "d1"), ("D1-01", "D1-1"), ("00", "0"), ("2026-03-01", "2026-3-1")],
)
def test_donors_that_differ_in_zeros_before_a_number_are_found(one: str, other: str) -> None:
    """A spreadsheet makes 7 of 007, and one person was two donors without a word."""
    assert alike_donors([one, "X", other]) == ((one, other),)
    assert "zeros before a number" in alike_warning(one, [other])


@pytest.mark.parametrize(
    ("one", "other"), [("7", "70"), ("D10", "D1"), ("100", "1"), ("1.05", "1.5"), ("D0", "D"), ("101", "11")]
)
def test_other_zeros_are_part_of_a_code(one: str, other: str) -> None:
    assert alike_donors([one, other]) == ()


def test_reviewers_have_no_rule_of_zeros() -> None:
    """The gallery's `readAs` has none."""
    assert alike_names(["Reader 01", "Reader 1"]) == ()


def test_a_name_that_shows_nothing_is_known() -> None:
    assert all(map(shows_nothing, ("", " ", "\u00a0", "\u200b\ufeff")))
    assert not shows_nothing("D")
