from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from typer.testing import CliRunner, Result

from mnbatch.cli import app
from mnbatch.errors import MnbatchError


@pytest.fixture
def export(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for path in ("D1/s1/1.png", "D1/s1/2.tif", "D2/s1/1.bmp", "D2/s1/1.jpg", "D2/s1/Thumbs.db"):
        target = tmp_path / "export" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".db":
            target.write_bytes(b"x")
        else:
            Image.fromarray(rng.integers(0, 255, (20, 20), dtype=np.uint8)).save(target)
    return tmp_path / "export"


def scan(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["scan", *map(str, arguments)])


def test_a_line_for_each_slide_off_a_terminal(export: Path) -> None:
    result = scan(export)
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert lines[0][:6] == ["slide_id", "donor", "slide", "files", "MB", "note"]
    assert [line[1:4] for line in lines[1:]] == [["-", "s1", "2"], ["-", "s1", "1"]]
    assert "2 slides without a donor" in result.stderr


def test_explain_names_the_layout_and_every_reason(export: Path) -> None:
    result = scan(export, "--explain", "--layout", "donor-slide-folders")
    assert "Layout donor-slide-folders:" in result.stdout
    assert "skipped: D2/s1/1.jpg: preview" in result.stdout
    assert "skipped: D2/s1/Thumbs.db:" in result.stdout
    assert "no donor" not in result.stderr


def test_json_is_one_document(export: Path) -> None:
    result = scan(export, "--json", "--explain", "--layout", "donor-slide-folders")
    content = json.loads(result.stdout)
    assert content["layout"] == "donor-slide-folders"
    assert [(slide["donor"], slide["files"]) for slide in content["slides"]] == [("D1", 2), ("D2", 1)]
    assert {item["path"] for item in content["skipped_files"]} == {"D2/s1/1.jpg", "D2/s1/Thumbs.db"}


def test_a_sample_sheet_overrides_donors(export: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "samples.csv"
    sheet.write_text("slide,donor,dose_gy\nD2/s1,X9,0.5\n")
    result = scan(export, "--json", "--layout", "donor-slide-folders", "--samples", sheet)
    slides = json.loads(result.stdout)["slides"]
    assert [(slide["donor"], slide["dose_gy"]) for slide in slides] == [("D1", None), ("X9", 0.5)]


def test_without_a_slide_the_reasons_are_printed_before_the_error(export: Path) -> None:
    result = scan(export, "--explain", "--layout", "{donor}/{slide}.tif")
    assert "skipped: D1/s1/2.tif: does not fit the layout" in result.stdout
    assert isinstance(result.exception, MnbatchError)
    assert result.exception.exit_code == 4


def test_young_slides_are_marked(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The time at which a file arrived cannot be set by a test.
    monkeypatch.setattr("mnbatch.imaging.settling.arrived", lambda root, path, written, now: written)
    for file in export.glob("D1/s1/*"):
        os.utime(file, (1e9, 1e9))
    result = scan(export, "--settle", "100")
    notes = [line.split("\t")[5] for line in result.stdout.splitlines()[1:]]
    assert notes[0] == ""
    assert notes[1].startswith("still being written, left for the next run: its newest file is")


def test_names_cannot_write_to_the_terminal(export: Path) -> None:
    try:
        (export / "D3\x1b[31m\nfake").mkdir()
    except OSError:
        pytest.skip("this file system does not take such names")
    Image.fromarray(np.eye(20, dtype=np.uint8) * 200).save(export / "D3\x1b[31m\nfake" / "1.png")
    result = scan(export, "--explain")
    assert "\x1b" not in result.stdout
    assert "D3\\x1b[31m\\nfake" in result.stdout


def columns(result: Result) -> list[dict[str, str]]:
    head, *lines = (line.split("\t") for line in result.stdout.splitlines())
    return [dict(zip(head, line, strict=True)) for line in lines]


def test_what_will_be_counted_is_shown(tmp_path: Path) -> None:
    (tmp_path / "e/s1").mkdir(parents=True)
    (tmp_path / "e/s2").mkdir()
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 4000, (5, 40, 30), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "e/s1/g.tif", cells, photometric="minisblack", metadata=None)
    for name in ("a.png", "b.png", "b_mask.png"):
        Image.fromarray(rng.integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(tmp_path / "e/s2" / name)
    result = scan(tmp_path / "e")
    first, second = columns(result)
    assert (first["kind"], first["files"], first["cells"], first["pixels"]) == (
        "crops",
        "1",
        "5",
        "30 x 40 uint16 grey",
    )
    assert (second["cells"], second["pixels"], second["left_out"]) == ("2", "24 x 20 uint8 RGB", "1")
    assert result.exit_code == 0
    assert {row["cells"] for row in columns(scan(tmp_path / "e", "--quick"))} == {""}


def test_what_has_to_be_said_ends_with_exit_code_3_also_without_explain(tmp_path: Path) -> None:
    (tmp_path / "e/s1").mkdir(parents=True)
    for number in range(2):
        pages = np.random.default_rng(number).integers(0, 255, (2, 40, 40), dtype=np.uint8)
        tifffile.imwrite(tmp_path / f"e/s1/{number}.tif", pages, photometric="minisblack", metadata=None)
    (tmp_path / "e/s2").mkdir()
    (tmp_path / "e/s2/x.czi").write_bytes(b"ZISRAWFILE")
    result = scan(tmp_path / "e")
    assert result.exit_code == 3
    assert ["fails: " in row["note"] for row in columns(result)] == [True, True]
    assert "2 slides would fail" in result.stderr


def test_a_contact_strip_of_each_slide(export: Path, tmp_path: Path) -> None:
    result = scan(export, "--contact", tmp_path / "strips", "--json")
    paths = [slide["strip"] for slide in json.loads(result.stdout)["slides"]]
    assert len(set(paths)) == 2
    for path in paths:
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert picture.height == 128
    refused = scan(export, "--contact", export / "strips")
    assert isinstance(refused.exception, MnbatchError)
    assert not (export / "strips").exists()
