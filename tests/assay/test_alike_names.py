from __future__ import annotations

import pytest

from mnbatch.assay.alike_names import alike_names, spelled


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
