from __future__ import annotations

import pytest

from mnbatch.assay.sheet_regrouping import GroupedSlide, regroupings

Lines = dict[str, dict[str, str]]


def found(donors: dict[str, str], lines: Lines | None = None) -> dict[str, str]:
    """Of slides named FOLDER/NUMBER or FOLDER-NUMBER -> donor; `lines`: what else the sheet says of them."""
    known = lines or {}
    slides = [
        GroupedSlide(name, name.rpartition("/" if "/" in name else "-")[0], donor, **known.get(name, {}))
        for name, donor in donors.items()
    ]
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


@pytest.mark.parametrize("folder", ["2026-11-26", "01.03.2026", "\u00a0", " "])
def test_a_folder_of_a_day_or_of_no_name_is_divided_as_its_warning_asks(folder: str) -> None:
    """A code was asked for each person, and the sheet that gave one made an amber light."""
    assert found({f"{folder}/1": "P1", f"{folder}/2": "P2"}) == {}


def test_arrivals_that_are_in_folders_of_days_are_joined_without_a_word() -> None:
    assert found({"2026-11-26/1": "P1", "2026-11-27/1": "P1"}) == {}
    assert found({"P1/1": "P1", "2026-11-27/1": "P1", "\u00a0/1": "P1"}) == {}
    said = found({"D01/1": "P1", "D02/1": "P1", "2026-11-27/1": "P1"})["P1"]
    assert "it joins the folders 'D01' (D01/1) and 'D02' (D02/1)." in said


def test_a_folder_of_controls_may_be_divided() -> None:
    controls = {"Controls/1": "NEG-1", "Controls/2": "POS-1", "Controls/3": "NEG-2"}
    marks = {"Controls/1": "yes", "Controls/2": "positive", "Controls/3": "yes"}
    lines = {name: {"control": mark} for name, mark in marks.items()}
    assert found(controls, lines) == {}
    said = found(controls | {"Controls/4": "D05"}, lines)
    assert "it divides the folder 'Controls', of which other slides are of 'D05' (Controls/4)." in said["NEG-1"]
    assert "'NEG-1' (Controls/1), 'POS-1' (Controls/2) and 'NEG-2' (Controls/3)" in said["D05"]


def test_a_folder_of_several_doses_is_divided_as_the_warning_of_its_pool_asks() -> None:
    parts = {"D01/1": "D01-0", "D01/2": "D01-1", "D01/3": "D01-2"}
    doses: Lines = {"D01/1": {"dose": "0.0"}, "D01/2": {"dose": "1.0"}, "D01/3": {"dose": "2"}}
    assert found(parts, doses) == {}
    assert found(parts, doses | {"D01/1": {"control": "yes"}}) == {}, "a negative control is of no dose"
    same = found(parts, doses | {"D01/3": {"dose": "1"}})
    assert set(same) == {"D01-1", "D01-2"}
    unknown = found(parts, doses | {"D01/3": {}})
    assert "other slides are of 'D01-2' (D01/3)." in unknown["D01-0"]
    assert "other slides are of 'D01-0' (D01/1) and 'D01-1' (D01/2)." in unknown["D01-2"]


def test_doses_do_not_hide_that_folders_were_joined() -> None:
    mixed = {"D01-1": "P1", "D01-2": "P2", "D02-1": "P2", "D02-2": "P1"}
    said = found(mixed, {name: {"dose": name[-1]} for name in mixed})
    assert set(said) == {"P1", "P2"}
    assert all("it joins the folders" in text for text in said.values())


def test_the_way_out_for_folders_that_are_no_donors_is_named() -> None:
    said = found({"Week1/1": "P1", "Week1/2": "P2"})["P1"]
    assert said.endswith("If your folders are no donors, begin OUT with another layout (docs/layouts.md)")
