"""Simulated fields whose cytoplasm shows: as bright as asked for, and without the option the same bytes as ever."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mnbatch.cli import app
from mnbatch.errors import UsageError
from mnbatch.simulate.export_plan import ExportPlan, SlideJob
from mnbatch.simulate.fields.field_export import simulate_fields
from mnbatch.simulate.fields.field_files import label_images
from mnbatch.simulate.fields.field_plan import FieldPlan
from mnbatch.simulate.fields.field_rendering import draw_field
from mnbatch.simulate.fields.haze import Haze

SLIDE = ExportPlan(donors=1, slides=1, doses=(4.0,), seed=5, variety=0.2)
_BEFORE = "79f09be6e7a90bd392276831569136ad3941ab8f7c5fe5b53e0e041f242f888d"
"""Of a field that the version without the option drew."""

PLAIN = FieldPlan(export=SLIDE, fields=1, width=640, height=480, defocus=0.0, debris=0.0)


def test_cytoplasm_is_as_bright_as_asked_for() -> None:
    levels = []
    for cytoplasm in (0.1, 0.4):
        plan = replace(PLAIN, haze=Haze(cytoplasm=cytoplasm, spread=1.0, ghosts=0.0))
        drawing = draw_field(plan, SlideJob(0, 0), 1)
        labels, light = label_images(drawing.scene, drawing.slide), drawing.whole(16).astype(np.float64)
        ground = np.median(light[labels.cells == 0])
        body = np.median(light[(labels.cells > 0) & (labels.nuclei == 0) & (labels.mn == 0)]) - ground
        levels.append(body / (np.median(light[labels.nuclei > 0]) - ground))
    # Light from out of focus adds to both.
    assert 0.05 < levels[0] < 0.3 < levels[1] < 0.6


def test_nuclei_differ_in_brightness_as_asked_for() -> None:
    cells = draw_field(replace(PLAIN, haze=Haze(spread=10.0)), SlideJob(0, 0), 1).scene.cells
    bright = [cell.order.bright for cell in cells]
    assert 4 < max(bright) / min(bright) <= 10
    assert all(cell.order.bright == 1.0 for cell in draw_field(PLAIN, SlideJob(0, 0), 1).scene.cells)


def test_cells_far_out_of_focus_add_light_and_are_not_in_the_truth() -> None:
    with_ghosts, without = (
        draw_field(replace(PLAIN, haze=Haze(ghosts=share)), SlideJob(0, 0), 1) for share in (1.0, 0.0)
    )
    assert [cell.order for cell in with_ghosts.scene.cells] == [cell.order for cell in without.scene.cells]
    assert with_ghosts.whole(16).astype(float).mean() > 1.02 * without.whole(16).astype(float).mean()


def test_without_haze_the_bytes_are_those_of_before_the_option() -> None:
    drawn = draw_field(FieldPlan(export=SLIDE, width=256, height=256), SlideJob(0, 0), 1).whole(8)
    assert hashlib.sha256(np.ascontiguousarray(drawn).tobytes()).hexdigest() == _BEFORE


@pytest.mark.parametrize(
    "change",
    [
        {"haze": Haze(cytoplasm=0.0)},
        {"haze": Haze(cytoplasm=0.9)},
        {"haze": Haze(spread=0.5)},
        {"haze": Haze(ghosts=2.0)},
        {"haze": Haze(), "export": replace(SLIDE, stain="giemsa")},
    ],
)
def test_haze_that_cannot_be_drawn_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        simulate_fields(tmp_path / "x", replace(PLAIN, **change))  # type: ignore[arg-type]
    assert not (tmp_path / "x").exists()


def test_the_command_draws_hazy_fields_and_refuses_hazy_crops(tmp_path: Path) -> None:
    size = ["--donors", "1", "--slides", "1", "--fields", "1", "--field-size", "256x256", "--workers", "1"]
    made = CliRunner().invoke(app, ["simulate", str(tmp_path / "x"), "--kind", "fields", "--haze", "0.2", *size])
    assert made.exit_code == 0, made.output
    assert CliRunner().invoke(app, ["simulate", str(tmp_path / "y"), "--haze", "0.2"]).exit_code != 0
    assert not (tmp_path / "y").exists()
