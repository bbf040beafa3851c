"""Grey files of stained cells, where the model tells stains apart by colour: said by an evaluation and a training."""

import csv
import json
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image

from mnbatch.evaluation.evaluation_page import render_page
from mnbatch.evaluation.evaluation_records import Request
from mnbatch.evaluation.evaluation_run import evaluate
from mnbatch.evaluation.evaluation_tables import metrics_json
from mnbatch.evaluation.labelled_cells import told_cells
from mnbatch.inference.catalogue import verify_model
from mnbatch.inference.model_directory import write_model_directory
from mnbatch.networks import ARCHITECTURES
from mnbatch.training import adaptation, cross_validation, training_run
from mnbatch.training.recipe import Recipe
from mnbatch.training.training_request import Request as TrainingRequest

SIDE = 96


def stained_cell(rng: np.random.Generator, with_mn: bool) -> Image.Image:
    ys, xs = np.mgrid[0:SIDE, 0:SIDE]
    nucleus = np.hypot(ys - 48, xs - 48) < 16
    small = (np.hypot(ys - 48, xs - 72) < 5) & with_mn
    optical = np.where((nucleus | small)[..., None], (0.5, 0.8, 0.3), 0.02)
    light = np.array((230, 225, 235)) * 10**-optical + rng.normal(0, 2, (SIDE, SIDE, 1))
    return Image.fromarray(light.clip(0, 255).astype(np.uint8))


@pytest.fixture
def half_grey(tmp_path: Path) -> Path:
    """Twelve Giemsa crops of six slides, every other slide in grey."""
    rng = np.random.default_rng(8)
    rows = []
    for number in range(12):
        picture = stained_cell(rng, number % 2 == 0)
        grey = number // 2 % 2 == 0
        (picture.convert("L") if grey else picture).save(tmp_path / f"{number}.png")
        rows.append([f"{number}.png", "nomn" if number % 2 else "mn", f"S{number // 2}"])
    with (tmp_path / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["file", "label", "slide"], *rows])
    return tmp_path / "labels.csv"


def colour_model(folder: Path, polarity: str) -> Path:
    torch.manual_seed(1)
    fields = {
        "name": f"random-{polarity}",
        "version": "1",
        "architecture": "attention-alexnet",
        "preparation": {"contrast": {"rule": "deep_per_crop"}, "polarity": polarity},
        "stains": ("fluorescence", "giemsa"),
        "threshold": 0.5,
        "threshold_rule": "none: random weights",
        "training_data": (),
        "recipe": {},
        "metrics": (),
        "licence": "none",
        "intended_use": "tests of mechanics",
        "limitations": "knows nothing",
        "how_to_train_own": "mnbatch train",
    }
    write_model_directory(folder, ARCHITECTURES["attention-alexnet"](), fields)
    return folder


def test_an_evaluation_says_what_a_run_says(half_grey, tmp_path):
    models = {polarity: str(colour_model(tmp_path / polarity, polarity)) for polarity in ("stains", "density")}
    base = {"data": half_grey, "device": "cpu", "threads": 1, "bootstrap": 20}
    found = evaluate(Request(model=models["stains"], **base))
    said = [warning for warning in found.warnings if "no colour" in warning]
    assert len(said) == 1
    assert said[0].startswith("6 of 12 cells have no colour (grey files)")
    assert said[0] in render_page(found).decode()
    assert said[0] in json.loads(metrics_json(found))["warnings"]
    second = evaluate(Request(model=models["density"], against=models["stains"], **base))
    said = [warning for warning in second.warnings if "no colour" in warning]
    assert len(said) == 1
    assert said[0].startswith("Second model: 6 of 12 cells have no colour")


class _Stop(Exception):
    """Ends a training before it costs anything."""


@pytest.mark.parametrize(("polarity", "warned"), [("stains", True), ("density", False)])
def test_a_training_says_it_and_notes_it_on_the_card(half_grey, tmp_path, monkeypatch, polarity, warned):
    asked = []

    def stop(request, checkpoint):
        asked.append(request)
        raise _Stop

    monkeypatch.setattr(training_run, "_finished_before", stop)
    said = []
    recipe = Recipe(epochs=1, cells_per_epoch=8, minibatch=8, bf16=False, polarity=polarity)
    request = TrainingRequest(half_grey, tmp_path / "out", half_grey, init="random", threads=1, device="cpu")
    with pytest.raises(_Stop):
        training_run.train_model(request, recipe, said.append)
    word = "12 of 24 labelled cells have no colour (grey files)"
    assert any(line.startswith(f"warning: {word}") for line in said) == warned
    assert (word in asked[0].note) == warned


@pytest.mark.parametrize(("polarity", "warned"), [("stains", True), ("density", False)])
def test_a_cross_validation_says_it_of_each_group_that_is_held_out(half_grey, tmp_path, monkeypatch, polarity, warned):
    monkeypatch.setattr(cross_validation._Folds, "_trained", Mock(side_effect=_Stop))
    said = []
    recipe = Recipe(epochs=1, cells_per_epoch=8, minibatch=8, bf16=False, polarity=polarity)
    request = TrainingRequest(half_grey, tmp_path / "out", init="random", threads=1, device="cpu")
    folds = cross_validation._Folds(request, recipe, said.append)
    cells = told_cells(half_grey, said.append)
    for slide in ("S0", "S1"):
        held_out = [cell for cell in cells if cell.slide == slide]
        with pytest.raises(_Stop):
            folds.fold(slide, [cell for cell in cells if cell.slide != slide], held_out)
    assert any("warning: of S0, 2 of 2 labelled cells have no colour" in line for line in said) == warned
    assert not any("of S1" in line for line in said)


@pytest.mark.parametrize(("polarity", "warned"), [("stains", True), ("density", False)])
def test_an_adaptation_says_it_and_notes_it_on_the_card(half_grey, tmp_path, monkeypatch, polarity, warned):
    monkeypatch.setattr(adaptation, "FEWEST_CELLS", 12)
    monkeypatch.setattr(adaptation._Run, "held_out_scores", Mock(side_effect=_Stop))
    base = verify_model(colour_model(tmp_path / "base", polarity))
    request = adaptation.AdaptRequest(
        data=half_grey, base=base, stain="giemsa", out=tmp_path / "own", name="own", workers=0, device="cpu"
    )
    said, runs, made = [], [], adaptation._Run.__init__

    def watched(self, *arguments):
        runs.append(self)
        made(self, *arguments)

    monkeypatch.setattr(adaptation._Run, "__init__", watched)
    with pytest.raises(_Stop):
        adaptation.adapt(request, said.append)
    word = "6 of 12 labelled cells have no colour (grey files)"
    assert any(line.startswith(f"warning: {word}") for line in said) == warned
    assert (word in runs[0]._request().note) == warned
