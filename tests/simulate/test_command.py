"""`mnbatch simulate` as typed."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mnbatch.cli.simulate import simulate
from mnbatch.errors import UsageError

SMALL = ["--donors", "1", "--slides", "2", "--cells", "2", "--size", "64", "--workers", "1"]


def run(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(simulate)
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return result.stdout


def test_summary_says_where_everything_is(tmp_path: Path) -> None:
    said = run(str(tmp_path / "x"), *SMALL, "--look", "both", "--dose", "4")
    assert "2 slides, 4 cells" in said
    assert str(tmp_path / "x" / "truth.csv") in said
    assert (tmp_path / "x" / "export" / "D01" / "D01-2" / "cell_0002.tif").is_file()


def test_gallery_is_one_file_a_slide(tmp_path: Path) -> None:
    run(str(tmp_path / "x"), *SMALL, "--kind", "gallery")
    assert sorted(path.name for path in (tmp_path / "x" / "export").iterdir()) == ["D01-1.tif", "D01-2.tif"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--dose", "a,b"),
        ("--look", "brightfield"),
        ("--kind", "video"),
        ("--format", "gif"),
        ("--bits", "12"),
    ],
)
def test_unknown_values_are_refused_with_the_known_ones(tmp_path: Path, option: str, value: str) -> None:
    with pytest.raises(UsageError) as refused:
        run(str(tmp_path / "x"), *SMALL, option, value)
    assert refused.value.next_step.startswith("Use ")
    assert not (tmp_path / "x").exists()


def test_fields_are_written_with_everything_that_was_asked_for(tmp_path: Path) -> None:
    said = run(
        *(str(tmp_path / "x"), "--kind", "fields", "--donors", "1", "--slides", "1", "--fields", "2"),
        *("--field-size", "200x160", "--workers", "1", "--look", "giemsa", "--format", "ome.tif"),
        *("--mnbn", "300", "--mixture", "binucleated=1", "--masks", "apart", "--um-per-pixel", "0.3"),
    )
    assert "2 fields each" in said
    slide = tmp_path / "x" / "export" / "D01" / "D01-1"
    assert sorted(path.name for path in slide.iterdir()) == ["field_001.ome.tif", "field_002.ome.tif"]
    assert len(list((tmp_path / "x" / "masks").rglob("*.tif"))) == 6


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--field-size", "1000"),
        ("--field-size", "axb"),
        ("--mixture", "binucleated"),
        ("--masks", "yes"),
        ("--mnbn", "few"),
        ("--format", "gif"),
    ],
)
def test_unknown_values_of_fields_are_refused(tmp_path: Path, option: str, value: str) -> None:
    with pytest.raises(UsageError) as refused:
        run(str(tmp_path / "x"), "--kind", "fields", option, value)
    assert refused.value.next_step.startswith("Use ")
    assert not (tmp_path / "x").exists()
