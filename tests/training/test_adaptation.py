"""A model that learns from a laboratory's review: judged on slides it has not seen, written only where it is better."""

import csv
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mnbatch.errors import StorageError, TrainingError, UsageError
from mnbatch.evaluation.labelled_cells import LabelledCell, read_labels
from mnbatch.inference.catalogue import ModelSet, verify_model
from mnbatch.inference.model_directory import load_model, write_model_directory
from mnbatch.training import adaptation
from mnbatch.training.adaptation import (
    AdaptRequest,
    adapt,
    check_cells,
    divide,
    figures_of,
    groups_of,
    rates_of_slides,
    recipe_for,
)
from mnbatch.training.held_out_groups import people_or_slides
from mnbatch.training.initial_weights import started
from tests.training.conftest import draw_cell

SECOND_LOOK = {"from_score": 0.3, "views": ({"quarter_turns": 1}, {"zoom": 1.2})}
SMALL = (("epochs", 1), ("cells_per_epoch", 8), ("synthetic_cells", 4), ("minibatch", 8))
FAST = (
    *(("epochs", 1), ("cells_per_epoch", 128), ("minibatch", 32), ("synthetic_cells", 2)),
    *(("learning_rate", 1e-3), ("head_factor", 40.0), ("averaging", 0.5), ("labelled", 1.0)),
    *(("hard", 0.01), ("simulated", 0.01), ("with_mn", 0.5)),
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A smaller bundled model with a second look; its scores follow the discs that are drawn here as cells."""
    bundled = load_model(ModelSet.open("attention-alexnet-256").for_stain("fluorescence").path)
    fields = bundled.card.model_dump(exclude={"schema_version", "weights_sha256", "created", "software"})
    path = tmp_path_factory.mktemp("base") / "model"
    write_model_directory(path, bundled.network, {**fields, "second_look": SECOND_LOOK})
    return verify_model(path)


def write_set(place, slides=("a", "b"), each=16, wrong=False, donors=None):
    rng = np.random.default_rng(5)
    rows = []
    for slide in slides:
        for number in range(each):
            label = number % 2 == 0
            file = place / slide / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw_cell(rng, label)).save(file)
            said = ("nomn" if label else "mn") if wrong else ("mn" if label else "nomn")
            rows.append([f"{slide}/{number}.png", said, slide, (donors or {}).get(slide, ""), 1.0 if label else 0.5])
    with (place / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", "label", "slide", "donor", "inclusion_probability"], *rows])
    return place / "labels.csv"


def cells(*told):
    return [
        LabelledCell(f"{i}.png", has_mn, slide, donor)  # type: ignore[arg-type]
        for i, (slide, donor, has_mn) in enumerate(told)
    ]


def request(tmp_path, data, base, changes):
    return AdaptRequest(
        data=data,
        base=base,
        stain="fluorescence",
        out=tmp_path / "own",
        name="own",
        workers=0,
        device="cpu",
        changes=changes,
    )


def test_what_cannot_be_learned_from_is_refused_in_one_line():
    two = [("a", "", i % 2 == 0) for i in range(20)] + [("b", "", i % 2 == 0) for i in range(20)]
    assert check_cells(cells(*two)) == "slide"
    for told, words in (
        (two[:29], "29 reviewed cells are too few"),
        ([(slide, donor, False) for slide, donor, _ in two], "0 of 40 reviewed cells are with"),
        ([("a", "", mn) for _, _, mn in two], "All cells are of one slide (a)"),
        ([("", "", mn) for _, _, mn in two], "neither donor nor slide"),
    ):
        with pytest.raises(TrainingError, match=words.replace("(", r"\(").replace(")", r"\)")):
            check_cells(cells(*told))


def test_donors_are_held_out_whole_and_every_fold_leaves_both_classes():
    told = [(f"s{d}{s}", f"d{d}", i % 5 == 0) for d in range(7) for s in range(2) for i in range(10)]
    labelled = cells(*told)
    folds = divide(labelled, seed=1)
    by_donor = {}
    for name, fold in zip(groups_of(labelled), folds, strict=True):
        by_donor.setdefault(name, set()).add(fold)
    assert sorted(by_donor) == [f"d{d}" for d in range(7)]
    assert all(len(found) == 1 for found in by_donor.values())
    assert set(folds) == set(range(5))
    assert divide(labelled, seed=1) == folds


def test_a_donor_under_two_spellings_is_held_out_as_one():
    told = [(f"s{d}", d, i % 2 == 0) for d in ("D1", "d1", "D1 ", "D2") for i in range(10)]
    labelled = cells(*told)
    assert check_cells(labelled) == "donor"
    folds = divide(labelled, seed=1)
    assert len({fold for cell, fold in zip(labelled, folds, strict=True) if cell.donor != "D2"}) == 1
    assert set(folds) == {0, 1}
    (line,) = people_or_slides(labelled).notes
    assert "The donors 'D1' and 'D1 ' and 'd1' read the same" in line
    rates: Any = rates_of_slides(labelled, np.full(len(told), 0.9), 0.5, np.ones(len(told)))
    assert [row["slide"] for row in rates] == ["sD1", "sD1 ", "sD2", "sd1"], "no report merges them"


def test_one_donor_under_two_spellings_is_no_reason_to_hold_out_by_donor():
    labelled = cells(*[(f"s{d}", d, i % 2 == 0) for d in ("D1", "d1") for i in range(20)])
    with pytest.raises(TrainingError, match="All cells are of one slide"):
        check_cells(labelled)  # nor are these two slides: s D1 and s d1 read the same
    others = cells(*[(slide, d, i % 2 == 0) for slide, d in (("a", "D1"), ("b", "d1")) for i in range(20)])
    assert check_cells(others) == "slide"
    assert set(groups_of(others)) == {"a", "b"}
    alike, alone = people_or_slides(others).notes
    assert "The donors 'D1' and 'd1' read the same: they are taken as one" in alike
    assert "All cells are of one donor" in alone


def test_one_slide_without_a_donor_puts_no_person_on_both_sides():
    told = [("a", "D1"), ("b", "D1"), ("c", "D2"), ("d", "D2"), ("e", "D3"), ("f", "")]
    labelled = cells(*[(slide, donor, i % 2 == 0) for slide, donor in told for i in range(10)])
    assert check_cells(labelled) == "donor or slide"
    folds = divide(labelled, seed=1)
    of_donor = {}
    for cell, fold in zip(labelled, folds, strict=True):
        of_donor.setdefault(cell.donor or cell.slide, set()).add(fold)
    assert sorted(of_donor) == ["D1", "D2", "D3", "f"]
    assert all(len(found) == 1 for found in of_donor.values())
    (note,) = people_or_slides(labelled).notes
    assert "The slide 'f' has no donor" in note
    assert adaptation.in_plural("donor or slide") == "donors or slides"


def test_a_class_of_one_slide_alone_cannot_be_judged():
    told = [("a", "", i < 10) for i in range(20)] + [("b", "", False)] * 20
    with pytest.raises(TrainingError, match="of one donor or slide"):
        divide(cells(*told), seed=1)


def test_the_recipe_keeps_the_preparation_of_the_model(base):
    from mnbatch.training.training_run import preparation_of

    recipe = recipe_for(base.card, "fluorescence", (0.4, 0.4, 0.2), SMALL)
    assert preparation_of(recipe) == base.card.preparation
    assert (recipe.epochs, recipe.stained) == (1, 0.0)
    assert recipe.colour_shares == (0.4, 0.4, 0.2)
    padded = base.card.preparation.model_copy(update={"padding": "reflect"})
    with pytest.raises(TrainingError, match="prepares its crops as no training does"):
        recipe_for(base.card.model_copy(update={"preparation": padded}), "fluorescence")


def test_the_mixture_of_colours_is_read_from_the_weights(base):
    assert adaptation._shares(base) == pytest.approx((0.4, 0.4, 0.2), abs=1e-3)
    assert adaptation._shares(ModelSet.open("attention-alexnet").for_stain("giemsa")) is None


@pytest.mark.parametrize("stain", ["fluorescence", "giemsa"])
def test_an_adaptation_starts_with_the_weights_of_the_model(stain):
    model = ModelSet.open("attention-alexnet").for_stain(stain)
    weights = str(model.path / "model.safetensors")
    recipe = recipe_for(model.card, stain, adaptation._shares(model), SMALL)
    network, _ = started(model.card.architecture, weights, 1, recipe.colour_shares, recipe.coloured)
    held = load_file(weights)
    assert all(torch.allclose(tensor, held[name], atol=1e-6) for name, tensor in network.state_dict().items())


def test_cells_that_were_drawn_with_a_chance_count_for_those_that_were_not():
    scores = np.array([0.9, 0.8, 0.6, 0.1, 0.2])
    labels = np.array([True, True, False, False, False])
    weights = np.array([1, 1, 1, 10, 10])
    assert figures_of(scores, labels, weights.astype(float)).specificity == 1.0
    told = [("a", "", True), ("a", "", True), ("a", "", False), ("a", "", False), ("b", "", False)]
    rows: Any = rates_of_slides(cells(*told), scores, 0.5, weights.astype(float))
    first, second = rows
    assert (first["sensitivity"], first["specificity"]) == (1.0, round(10 / 11, 4))
    assert (second["sensitivity"], second["specificity"], second["n"]) == (None, 1.0, 1)


def test_the_new_weights_are_the_mean_of_the_old_ones_and_those_that_were_trained():
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    old = {name: weight.clone() for name, weight in network.state_dict().items()}
    trained = old | {"0.weight": old["0.weight"] + 1, "1.num_batches_tracked": old["1.num_batches_tracked"] + 7}
    for share in (0.0, 0.25, 1.0):
        network.load_state_dict(trained)
        found = adaptation.between(old, network, share).state_dict()
        assert torch.allclose(found["0.weight"], old["0.weight"] + 1 - share)
        assert int(found["1.num_batches_tracked"]) == 7


def test_a_model_that_is_not_better_is_not_written(tmp_path, base):
    done = adapt(request(tmp_path, write_set(tmp_path / "set"), base, SMALL), lambda _: None)
    assert done.card is None
    assert not done.better
    assert (done.cells, done.with_mn, done.groups, done.grouped_by) == (32, 16, 2, "slide")
    assert not (tmp_path / "own").exists()
    assert not (tmp_path / "own.training").exists()


def test_a_better_model_is_written_with_old_and_new_in_its_card(tmp_path, base, few_resamples, monkeypatch):
    monkeypatch.setattr("mnbatch.training.training_pools.VALIDATION_CELLS", 8)
    data = write_set(tmp_path / "set", wrong=True)  # a stain where everything is the other way round
    asked = Mock(side_effect=adaptation.score)
    monkeypatch.setattr(adaptation, "score", asked)
    done = adapt(request(tmp_path, data, base, FAST), lambda _: None)
    assert done.better
    card = verify_model(tmp_path / "own").card
    assert card == done.card
    account: Any = card.recipe["adapted"]
    assert account["from_digest"] == base.digest
    assert account["new"]["auc"] > account["old"]["auc"] + 0.3
    assert account["p_value"] < 0.05
    assert account["kept_of_old_weights"] == 0.5
    assert [row["slide"] for row in account["slides"]] == ["a", "b"]
    assert card.stains == ("fluorescence",)
    assert card.sensitivity is None
    assert card.validation_slides == ()
    assert card.preparation == base.card.preparation
    assert card.second_look is not None
    assert card.second_look.from_score == min(0.3, card.threshold)
    asked.assert_called()
    assert {call.args[4] for call in asked.call_args_list} == {base.card.second_look.views}, "old and new alike"


def test_folds_that_are_done_are_not_trained_again(tmp_path, base, monkeypatch):
    data = write_set(tmp_path / "set")
    asked = request(tmp_path, data, base, SMALL)
    said = []

    class Killed(Exception):
        pass

    def say(line):
        said.append(line)
        if line == "fold 2/2":
            raise Killed

    with pytest.raises(Killed):
        adapt(asked, say)
    kept = json.loads((tmp_path / "own.training" / adaptation.STATE).read_text())
    assert list(kept["folds"]) == ["0"]
    again = []
    adapt(asked, again.append)
    assert "fold 1/2" not in again
    assert "fold 2/2" in again
    assert not any("finished fold" in line for line in again)


def test_folds_of_another_seed_are_given_up_with_a_word(tmp_path, base, monkeypatch):
    asked = request(tmp_path, write_set(tmp_path / "set"), base, SMALL)
    kept = tmp_path / "own.training" / adaptation.STATE
    kept.parent.mkdir()
    kept.write_text(json.dumps({"of": "another", "folds": {"0": [0.5]}}))
    monkeypatch.setattr(adaptation._Run, "_trained", Mock(side_effect=InterruptedError))
    said = []
    with pytest.raises(InterruptedError):
        adapt(replace(asked, seed=2), said.append)
    (line,) = [line for line in said if "finished fold" in line]
    assert line.startswith(
        f"warning: {kept.parent} keeps 1 finished fold of another seed, recipe, model or other cells"
    )
    assert json.loads(kept.read_text())["folds"] == {"0": [0.5]}, "until the first fold is done"


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no folder here that nobody may write")
def test_a_place_that_cannot_be_written_is_found_before_anything_is_learned(tmp_path, base):
    asked = replace(request(tmp_path, tmp_path / "no.csv", base, SMALL), out=Path("/proc/nope/m"))
    with pytest.raises(StorageError, match="/proc/nope"):
        adapt(asked, lambda _: pytest.fail("something was begun"))


def test_a_place_that_is_a_file_is_found_and_the_trial_leaves_nothing(tmp_path, base):
    (tmp_path / "file").write_bytes(b"x")
    asked = request(tmp_path, write_set(tmp_path / "set", each=2), base, SMALL)
    with pytest.raises(StorageError):
        adapt(replace(asked, out=tmp_path / "file" / "own"), lambda _: None)
    with pytest.raises(TrainingError, match="too few"):
        adapt(replace(asked, out=tmp_path / "new" / "er" / "own"), lambda _: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "set"]
    kept = tmp_path / "own.training"
    kept.mkdir()
    adaptation.check_place(kept)
    assert list(kept.iterdir()) == []


def test_nothing_is_written_over(tmp_path, base):
    data = write_set(tmp_path / "set")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.png").write_bytes(b"x")
    with pytest.raises(StorageError, match="exists already"):
        adapt(request(tmp_path, data, base, SMALL), lambda _: None)
    assert (tmp_path / "own" / "a.png").read_bytes() == b"x"


@pytest.mark.parametrize("name", ["notes.txt", "checkpoint.json"])
def test_a_folder_beside_the_model_that_no_adaptation_made_is_left_alone(tmp_path, base, name):
    kept = tmp_path / "own.training" / name
    kept.parent.mkdir()
    kept.write_text("mine")
    with pytest.raises(StorageError, match="keeps no training of `mnbatch adapt`"):
        adapt(request(tmp_path, write_set(tmp_path / "set"), base, SMALL), lambda _: None)
    assert kept.read_text() == "mine"


def test_what_no_training_could_end_with_is_refused_before_the_labels_are_read(tmp_path, base):
    asked = request(tmp_path, tmp_path / "absent.csv", base, SMALL)
    for change, words in (({"device": "foo"}, "Unknown device 'foo'"), ({"name": "My Lab"}, "--name 'My Lab' cannot")):
        with pytest.raises(UsageError, match=words):
            adapt(replace(asked, **change), lambda _: None)


def test_a_chance_that_is_none_is_refused(tmp_path):
    data = write_set(tmp_path / "set")
    text = data.read_text().replace(",0.5", ",0", 1)
    data.write_text(text)
    with pytest.raises(TrainingError, match="'0' is not a probability"):
        read_labels(data)
