"""From simulated fields to the table: what is reported of a slide are the cells that the truth knows."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from mnbatch.imaging.inputs import recognise_input
from mnbatch.pipeline.run import run
from mnbatch.simulate.export_plan import ExportPlan
from mnbatch.simulate.fields.field_export import simulate_fields
from mnbatch.simulate.fields.field_plan import FieldPlan


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def test_simulated_exports_are_recognised_for_what_they_are(tmp_path: Path) -> None:
    small = ExportPlan(donors=1, slides=1)
    fields = simulate_fields(tmp_path / "fields", FieldPlan(small, fields=1, width=900, height=820))
    whole = simulate_fields(tmp_path / "wsi", FieldPlan(small, kind="wsi", width=1200, height=900, density=50.0))
    assert recognise_input(fields.export, "folder-per-slide").kind == "fields"
    assert recognise_input(whole.export, "folder-per-slide").kind == "wsi"


@pytest.mark.parametrize("stain", ["fluorescence", "giemsa"])
def test_reported_cells_are_the_binucleated_cells_of_the_truth(settings, tmp_path: Path, stain: str) -> None:
    plan = FieldPlan(ExportPlan(donors=1, slides=1, seed=31, stain=stain, variety=0.3), fields=2, masks="apart")
    made = simulate_fields(tmp_path / "simulated", plan)
    assert run(settings(export=made.export, samples=made.samples)).exit_code == 0
    (row,) = table(tmp_path / "out" / "slides.csv")
    cells = table(tmp_path / "out" / "slides" / row["slide_id"] / "cells.csv")
    truth = table(made.truth)
    assert (row["donor"], row["input"], row["fields"]) == ("D01", "fields", "2")
    assert int(row["bn_cells"]) == sum(bool(cell["mn"]) for cell in cells)
    scorable = [line for line in truth if line["scorable"] == "1"]
    binucleated = [line for line in truth if line["class"] == "binucleated"]
    assert len(scorable) >= 15
    assert sum(any(close(line, cell) for cell in cells) for line in scorable) >= 0.8 * len(scorable)
    assert sum(any(close(line, cell) for line in binucleated) for cell in cells) >= 0.8 * len(cells)


def close(line: dict[str, str], cell: dict[str, str]) -> bool:
    away = math.hypot(float(line["x"]) - float(cell["x"]), float(line["y"]) - float(cell["y"]))
    return line["file"] == cell["source"] and away < 20
