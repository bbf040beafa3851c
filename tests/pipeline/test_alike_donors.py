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
