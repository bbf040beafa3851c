"""The models that ship: whole, told apart by stain, and as good on real crops as their cards say."""

import csv
import math
from pathlib import Path

import pytest

from mnbatch.evaluation.evaluation_records import Request as Evaluation
from mnbatch.evaluation.evaluation_run import evaluate
from mnbatch.evaluation.metrics import auc
from mnbatch.inference.catalogue import DEFAULT, ModelSet, list_models
from mnbatch.pipeline.run import run
from mnbatch.settings import resolve
from mnbatch.simulate.export_plan import ExportPlan
from mnbatch.simulate.fields.field_export import simulate_fields
from mnbatch.simulate.fields.field_plan import FieldPlan


def cells(out: Path) -> list[dict[str, str]]:
    rows = []
    for path in sorted(out.glob("slides/*/cells.csv")):
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows += list(csv.DictReader(file))
    return rows


def test_the_bundled_models_are_whole_and_serve_both_stains():
    models = ModelSet.open(DEFAULT)
    assert models.stains == ("fluorescence", "giemsa")
    for member in models.members:
        card = member.card
        # Thresholds are chosen on slides, and the card says that these were simulated.
        assert len(card.validation_slides) >= 40
        assert card.sensitivity is not None
        assert card.specificity is not None
        assert "simulated slides" in card.sensitivity.data
        assert sum(slide.n for slide in card.validation_slides) == card.sensitivity.total + card.specificity.total
        assert card.preparation.zoom.rule == "main_nucleus"
        assert card.training_data
        assert all(metric.ci_low is not None for metric in card.metrics if metric.name in ("auc", "f1"))
        assert "Not validated for clinical" in card.intended_use


@pytest.mark.parametrize("path", list_models(), ids=lambda path: path.name)
def test_every_bundled_model_says_how_cells_are_cut_from_fields(path):
    widths = {member.card.scale.crop_width_in_nucleus_diameters for member in ModelSet.open(path).members}
    assert widths == {3.2}


@pytest.mark.parametrize("stain", ["fluorescence", "giemsa"])
def test_the_bundled_models_score_cells_that_are_cut_from_fields(tmp_path, stain):
    plan = ExportPlan(donors=1, slides=1, seed=31, stain=stain, variety=0.3, mnbn=(300.0,))
    made = simulate_fields(tmp_path / "simulated", FieldPlan(plan, fields=3))
    out = tmp_path / "out"
    settings = {"export": made.export, "out": out, "samples": made.samples, "device": "cpu"}
    run(resolve(settings, environment={}))
    with made.truth.open(encoding="utf-8-sig", newline="") as file:
        truth = [line for line in csv.DictReader(file) if line["class"] == "binucleated"]
    pairs = [
        (int(line["mn"]), int(cell["mn"]))
        for cell in cells(out)
        for line in truth
        if cell["mn"] and line["file"] == cell["source"]
        if math.dist((float(line["x"]), float(line["y"])), (float(cell["x"]), float(cell["y"]))) < 20
    ]
    assert len(pairs) >= 20
    assert sum(true for true, _ in pairs) >= 3
    assert sum(true == called for true, called in pairs) >= 0.85 * len(pairs)


def test_a_run_over_real_crops_reaches_the_auc_of_the_card(shared_data, tmp_path):
    import numpy as np

    export = shared_data / "mnfinder" / "crops" / "validation"
    outcome = run(resolve({"export": export, "out": tmp_path / "out", "device": "cpu"}, environment={}))
    assert outcome.exit_code == 0
    rows = cells(tmp_path / "out")
    labels = np.array([row["source"].startswith("mn/") for row in rows])
    scores = np.array([float(row["p_mn"]) for row in rows])
    assert len(rows) == 113
    found = auc(scores, labels)
    assert found >= 0.94
    card = ModelSet.open(DEFAULT).for_stain("fluorescence").card
    stated = {metric.data: metric.value for metric in card.metrics if metric.name == "auc"}
    first_look = stated["validation, labelled, first look alone"]
    assert found == pytest.approx(first_look, abs=0.005)
    assert first_look >= 0.96


def test_the_drawn_maps_point_at_the_micronuclei_of_real_crops(shared_data):
    masks = shared_data / "mnfinder" / "labels.csv"
    asked = Evaluation("attention-alexnet", shared_data / "mnfinder/crops/validation", masks=masks, bootstrap=0)
    drawn = next(p for p in evaluate(asked).pointing if (p.name, p.target) == ("evidence_drawn", "any"))
    assert (drawn.cells, drawn.hits) >= (74, 60)


def test_simulated_giemsa_slides_are_told_from_their_look_and_scored_better_than_chance(tmp_path):
    import numpy as np

    from mnbatch.simulate.simulated_export import simulate_export

    simulate_export(tmp_path / "sim", donors=1, slides=1, cells=80, seed=77, doses=(4.0,), stain="giemsa")
    settings = {"export": tmp_path / "sim/export", "out": tmp_path / "out", "layout": "donor-slide-folders"}
    outcome = run(resolve(settings | {"device": "cpu"}, environment={}))
    assert outcome.exit_code == 0
    with (tmp_path / "sim/truth.csv").open(encoding="utf-8", newline="") as file:
        truth = {row["file"]: row["mn"] == "1" for row in csv.DictReader(file)}
    rows = cells(tmp_path / "out")
    labels = np.array([next(mn for name, mn in truth.items() if row["source"].endswith(name)) for row in rows])
    scores = np.array([float(row["p_mn"]) for row in rows])
    assert auc(scores, labels) > 0.8
    with (tmp_path / "out/slides.csv").open(encoding="utf-8-sig", newline="") as file:
        assert {row["model"].split()[0] for row in csv.DictReader(file)} == {"attention-alexnet-giemsa"}


def test_counters_of_bundled_models_leave_the_yes_no_models_as_they_were():
    """Without its counter each is byte for byte the model that it extends, and its scores are the same bits."""
    import copy
    import hashlib

    import numpy as np
    from safetensors.torch import load_file, save

    from mnbatch.imaging.preparation import prepare_crop
    from mnbatch.inference.classifier import Classifier
    from mnbatch.inference.model_directory import LoadedModel, load_model
    from mnbatch.networks.network import StreamNetwork
    from mnbatch.training.synthetic_cells import simulated

    for member in ModelSet.open(DEFAULT).members:
        if member.card.counting is None:
            continue
        weights = load_file(member.path / "model.safetensors")
        plain = save({name: tensor for name, tensor in weights.items() if not name.startswith("counter.")})
        assert hashlib.sha256(plain).hexdigest() == member.card.counting.recipe["extends"]["weights_sha256"]  # type: ignore[call-overload]
        counting = load_model(member.path)
        network = copy.deepcopy(counting.network)
        assert isinstance(network, StreamNetwork)
        network.counter = None
        stained = float("giemsa" in member.card.stains)
        made = [prepare_crop(picture, member.card.preparation) for picture, _ in simulated(range(6), 41, stained)]
        scores = []
        for model in (counting, LoadedModel(member.path, member.card, member.digest, network)):
            with Classifier(model, device="cpu", threads=1) as classifier:
                scores.append(classifier.score(np.stack(made)))
        assert np.array_equal(scores[0].p_mn, scores[1].p_mn)
        assert np.array_equal(scores[0].maps, scores[1].maps)
        assert scores[0].ratios is not None
        assert scores[1].ratios is None


def test_counts_of_bundled_models_beat_one_micronucleus_a_called_cell_on_every_set_of_their_cards():
    for member in ModelSet.open(DEFAULT).members:
        for check in member.card.counting.checks if member.card.counting else ():
            assert check.mean_absolute_error < check.by_one
            assert check.mean_absolute_error < check.by_mean_count


def test_a_page_of_the_bundled_models_says_that_their_errors_are_of_simulated_slides(tmp_path):
    from mnbatch.simulate.simulated_export import simulate_export

    simulate_export(tmp_path / "sim", donors=1, slides=2, cells=60, seed=1, doses=(2.0,), stain="fluorescence")
    settings = {"export": tmp_path / "sim/export", "out": tmp_path / "out", "layout": "donor-slide-folders"}
    assert run(resolve(settings | {"device": "cpu", "min_cells": 20}, environment={})).exit_code == 0
    with (tmp_path / "out/donors.csv").open(encoding="utf-8-sig", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["headline_kind"] == "estimated"
    assert "They were simulated" in row["trust"]
    assert "known from simulated slides alone" in row["light_reasons"]
