"""Donors whose codes read the same are named: by the run, by the report, on the batch page."""

from __future__ import annotations

from pathlib import Path

import pytest

from mnbatch.console import SilentProgress
from mnbatch.pipeline.run import run
from tests.in_process import mnbatch
from tests.pipeline.conftest import write_slide


class Heard(SilentProgress):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, text: str) -> None:
        self.warnings.append(text)


@pytest.mark.parametrize("pseudonymise", [False, True])
def test_alike_donors_are_named(settings, tmp_path: Path, pseudonymise: bool) -> None:
    write_slide(tmp_path / "e/D01/A", seed=1, cells=3)
    write_slide(tmp_path / "e/d01 /B", seed=2, cells=3)
    heard = Heard()
    outcome = run(settings(export=tmp_path / "e", pseudonymise=pseudonymise), heard)
    assert outcome.exit_code == 0
    (warning,) = heard.warnings
    assert "differs from" in warning
    assert ("'d01 '" in warning) is not pseudonymise
    if not pseudonymise:
        assert "in case, blanks or invisible letters" in (tmp_path / "out/donors.csv").read_text(encoding="utf-8-sig")
        assert "in case, blanks or invisible letters" in (tmp_path / "out/index.html").read_text(encoding="utf-8")
        assert "'d01 '" in mnbatch("report", tmp_path / "out").stderr


@pytest.mark.parametrize("pseudonymise", [False, True])
def test_what_a_sheet_says_twice_of_a_donor_is_told(settings, tmp_path: Path, pseudonymise: bool) -> None:
    for slide in ("A", "B"):
        write_slide(tmp_path / f"e/D01/{slide}", seed=ord(slide), cells=3)
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("slide,donor,sex\nA,Meier,f\nB,Meier,m\n")
    heard = Heard()
    outcome = run(settings(export=tmp_path / "e", samples=sheet, pseudonymise=pseudonymise), heard)
    assert outcome.exit_code == 0
    (warning,) = [text for text in heard.warnings if "two people under one donor code" in text]
    # Donor codes of a sheet are taken as they are; slides have their codes.
    assert warning.startswith("donor Meier: ")
    assert ("(A)" in warning) is not pseudonymise
    for _ in range(2):
        said = mnbatch("report", tmp_path / "out").stderr
        assert "two people under one donor code" in said
        assert ("(A)" in said) is not pseudonymise


def test_donors_that_differ_in_leading_zeros_are_named(settings, tmp_path: Path) -> None:
    write_slide(tmp_path / "e/007/A", seed=1, cells=3)
    write_slide(tmp_path / "e/7/B", seed=2, cells=3)
    heard = Heard()
    assert run(settings(export=tmp_path / "e"), heard).exit_code == 0
    (warning,) = heard.warnings
    assert "'007' differs from '7'" in warning
    assert "zeros before a number" in (tmp_path / "out/donors.csv").read_text(encoding="utf-8-sig")


def test_a_folder_whose_name_shows_nothing_is_said(settings, tmp_path: Path) -> None:
    write_slide(tmp_path / "e/\u00a0/A", seed=1, cells=3)
    heard = Heard()
    assert run(settings(export=tmp_path / "e"), heard).exit_code == 0
    assert any("the donor '\\xa0' has a name that shows nothing" in text for text in heard.warnings)


@pytest.mark.parametrize("pseudonymise", [False, True])
def test_a_sheet_that_mixes_folders_is_told_and_an_empty_one_too(settings, tmp_path: Path, pseudonymise: bool) -> None:
    for number, slide in enumerate(("D01/D01-1", "D01/D01-2", "D02/D02-1", "D02/D02-2")):
        write_slide(tmp_path / f"e/{slide}", seed=number, cells=3)
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("slide,donor\nD01-1,P1\nD01-2,P2\nD02-1,P1\nD02-2,P2\n")
    heard = Heard()
    handed = settings(export=tmp_path / "e", samples=sheet, pseudonymise=pseudonymise)
    assert run(handed, heard).exit_code == 0
    said = [text for text in heard.warnings if "groups slides otherwise" in text]
    assert [text.partition(":")[0] for text in said] == ["donor P1", "donor P2"]
    # Folders and slides have their codes.
    assert all(("D01" in text) is not pseudonymise for text in said)
    sheet.write_text("slide,donor\n")
    heard = Heard()
    assert run(handed, heard).exit_code == 0
    assert heard.warnings[0] == "sample sheet: it names no slide; donors are those of the folders again"
    assert not any("groups slides otherwise" in text for text in heard.warnings)


def test_a_dose_to_be_looked_at_is_said_with_its_line_and_on_the_donor(settings, tmp_path: Path) -> None:
    write_slide(tmp_path / "e/D01/A", seed=1, cells=3)
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("slide,donor,dose_gy\nA,D01,50\n")
    heard = Heard()
    assert run(settings(export=tmp_path / "e", samples=sheet), heard).exit_code == 0
    assert heard.warnings[0] == "sample sheet: line 2: a dose of more than 20 Gy: is it in Gy?"
    assert "dose_gy is 50 (A) in the sample sheet" in (tmp_path / "out/donors.csv").read_text(encoding="utf-8-sig")
