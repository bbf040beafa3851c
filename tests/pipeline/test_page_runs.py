"""Runs over multi-page files: what is asked fails the slide with exit 3 and the option, which then makes it right."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from mnbatch.assay.cells import Slide
from mnbatch.cli import app
from mnbatch.errors import EXIT_SLIDES_FAILED
from mnbatch.imaging.fields.field_options import FieldOptions
from mnbatch.inference.catalogue import ModelSet
from mnbatch.pipeline.planning import Stamps
from mnbatch.pipeline.run import run
from tests.imaging.imaging_helpers import put
from tests.imaging.page_files import cell, cytoplasm, written

Settings = Callable[..., Any]


@pytest.fixture
def stained(tmp_path: Path) -> Path:
    """A slide of eight crops of two stains each, of which nothing says which one is nuclear."""
    for i in range(8):
        both = np.stack([cytoplasm(cell(i)), cell(i)])
        content = written(both, each={"photometric": "minisblack", "metadata": {"axes": "CYX"}}, ome=True)
        put(tmp_path / "stains", f"D1/A/c{i}.tif", content)
    return tmp_path / "stains"


def row(out: Path) -> dict[str, str]:
    with (out / "slides.csv").open(encoding="utf-8-sig", newline="") as stream:
        (only,) = csv.DictReader(stream)
    return only


def test_a_question_fails_the_slide_and_its_option_answers_it(
    settings: Settings, stained: Path, tmp_path: Path
) -> None:
    assert run(settings(export=stained)).exit_code == EXIT_SLIDES_FAILED
    asked = row(tmp_path / "out")
    assert asked["status"] == "failed"
    assert "2 channels, none is known as the nuclear one: give --nuclear-channel" in asked["reason"]
    assert run(settings(export=stained, nuclear_channel="2")).exit_code == 0
    assert (row(tmp_path / "out")["status"], row(tmp_path / "out")["bn_cells"]) == ("done", "8")


def test_scan_says_what_is_asked_and_exits_with_3(stained: Path) -> None:
    shared = ["scan", str(stained), "--layout", "donor-slide-folders", "--explain"]
    asked = CliRunner().invoke(app, shared)
    assert asked.exit_code == EXIT_SLIDES_FAILED
    assert "asked: D1/A: What the pages of D1/A/c0.tif are is not clear: 2 channels" in asked.stdout
    told = CliRunner().invoke(app, [*shared, "--nuclear-channel", "2"])
    assert told.exit_code == 0
    assert "pages: D1/A: 2 channels by OME-XML; 1 read, channel 2" in told.stdout
    assert CliRunner().invoke(app, shared[:-1]).exit_code == EXIT_SLIDES_FAILED
    assert CliRunner().invoke(app, [*shared[:-1], "--quick"]).exit_code == 0
    wrong = CliRunner().invoke(app, [*shared, "--pages", "leaves"])
    assert wrong.exit_code != 0


def test_options_that_are_not_given_are_no_part_of_a_score() -> None:
    assert FieldOptions().page_options.key() == ""
    assert len({FieldOptions(planes=planes).key(None) for planes in (None, "max", "2")}) == 3


def test_what_is_said_of_pages_is_part_of_the_score_of_crops(settings: Settings, models: dict[str, Path]) -> None:
    (slide,) = [Slide("s", "s", "s", None, Path(), (), "folder-per-slide")]
    keys = [
        Stamps(ModelSet.open(str(models["one"])), settings(**said).settings).parts(slide, "c", "m").fields
        for said in ({}, {"um_per_pixel": 0.3}, {"pages": "cells"}, {"nuclear_channel": "2"})
    ]
    assert keys[:2] == ["", ""]
    assert len(set(keys)) == 3
