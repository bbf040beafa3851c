from __future__ import annotations

import pytest

from mnbatch.assay.sheet_regrouping import GroupedSlide, regroupings


def found(donors: dict[str, str]) -> dict[str, str]:
    """Of slides named FOLDER-NUMBER -> donor."""
    slides = [GroupedSlide(name, name.rpartition("-")[0], donor) for name, donor in donors.items()]
    return {donor: doubt.warning for donor, doubt in regroupings(slides).items()}


def test_a_sheet_that_mixes_two_folders_names_what_was_joined_and_divided() -> None:
    """What a sheet looks like of which one column was sorted; two people were pooled without a word."""
    said = found({"D01-1": "P1", "D01-2": "P2", "D02-1": "P1", "D02-2": "P2"})
    assert set(said) == {"P1", "P2"}
    assert "it joins the folders 'D01' (D01-1) and 'D02' (D02-1)" in said["P1"]
    assert "it divides the folder 'D01', of which other slides are of 'P2' (D01-2)" in said["P1"]
    assert "it divides the folder 'D02', of which other slides are of 'P1' (D02-1)" in said["P2"]
    assert not any(";" in text for text in said.values()), "they are joined with `; ` in donors.csv"


@pytest.mark.parametrize(
    "donors",
    [
        {"D01-1": "D01", "D01-2": "D01", "D02-1": "D02"},
        {"D01-1": "P1", "D01-2": "P1", "D02-1": "P2"},
        {"D01-1": "D02", "D02-1": "D01"},
        {"D01-1": "D01", "d01 -1": "D01"},
        {"007-1": "P1", "7-1": "P1"},
        {},
    ],
)
def test_folders_that_are_renamed_one_to_one_or_read_the_same_are_not_doubted(donors: dict[str, str]) -> None:
    assert found(donors) == {}


def test_folders_that_are_joined_or_divided_alone_are_said() -> None:
    joined = found({"D01-1": "P1", "D02-1": "P1", "D03-1": "P3"})
    assert set(joined) == {"P1"}
    assert "divides" not in joined["P1"]
    divided = found({"D01-1": "P1", "D01-2": "D01"})
    assert set(divided) == {"P1", "D01"}, "a slide that the sheet does not name stays with its folder"
    assert "joins" not in divided["P1"]


def test_a_long_list_is_cut_and_counted() -> None:
    said = found({f"D{i:02}-1": "P1" for i in range(1, 8)})["P1"]
    assert "'D04' (D04-1), 3 more" in said
