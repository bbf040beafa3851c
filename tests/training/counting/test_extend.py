"""A yes/no model with random weights gets a counter, through the command: what changes, and what must not."""

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save
from torch import nn
from typer.testing import CliRunner

from mnbatch.cli import app
from mnbatch.errors import ModelError, TrainingError, UsageError
from mnbatch.evaluation.evaluation_records import Request as EvaluationRequest
from mnbatch.evaluation.evaluation_run import evaluate
from mnbatch.inference.classifier import Classifier
from mnbatch.inference.model_directory import load_model, write_model_directory
from mnbatch.networks import ARCHITECTURES
from mnbatch.training.counting.counting_model import (
    COUNTS_NOTHING,
    COUNTS_ROUGHLY,
    ExtendRequest,
    counted_cells,
    extend_model,
)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def draw_cell(rng: np.random.Generator, n_mn: int, size: int = 80) -> np.ndarray:
    """A bright disc on dark background with small discs round it."""
    ys, xs = np.mgrid[0:size, 0:size]
    picture = 30 + 150.0 * (np.hypot(ys - size / 2, xs - size / 2) < size / 6)
    turn = rng.uniform(0, 2 * np.pi)
    for k in range(n_mn):
        y, x = size / 2 + size / 3.4 * np.array([np.sin(turn + 1.5 * k), np.cos(turn + 1.5 * k)])
        picture = np.maximum(picture, 190 * (np.hypot(ys - y, xs - x) < size / 13))
    return (picture + rng.normal(0, 4, (size, size))).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def labels(tmp_path_factory) -> Path:
    """84 cells of six slides with 0 to 3 micronuclei, and one with 5."""
    root = tmp_path_factory.mktemp("counted")
    rng = np.random.default_rng(5)
    rows = []
    for number in range(84):
        n_mn = number % 4 if number else 5
        Image.fromarray(draw_cell(rng, n_mn)).save(root / f"{number:02d}.png")
        rows.append([f"{number:02d}.png", n_mn, f"S{number // 14}"])
    with (root / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["file", "n_mn", "slide"], *rows])
    return root / "labels.csv"


def fields(**changes):
    return {
        "name": "mine",
        "version": "4",
        "architecture": "attention-alexnet",
        "preparation": {},
        "stains": ("fluorescence",),
        "threshold": 0.4,
        "threshold_rule": "none: random weights",
        "training_data": (),
        "recipe": {"epochs": 0},
        "metrics": ({"data": "kept", "n": 9, "n_mn": 3, "name": "auc", "value": 0.5},),
        "licence": "MIT",
        "intended_use": "tests",
        "limitations": f"Random. {COUNTS_NOTHING} Useless.",
        "how_to_train_own": "mnbatch train",
        **changes,
    }


@pytest.fixture(scope="module")
def yes_no(tmp_path_factory) -> Path:
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("models") / "mine"
    write_model_directory(path, ARCHITECTURES["attention-alexnet"](), fields())
    return path


@pytest.fixture(scope="module")
def counting(yes_no, labels, tmp_path_factory) -> Path:
    """Extended by the command, with a few synthetic cells."""
    out = tmp_path_factory.mktemp("extended") / "mine"
    arguments = ["train", str(labels), "--extend", str(yes_no), "--out", str(out), "--validation", str(labels)]
    done = CliRunner().invoke(app, [*arguments, "--made-cells", "6", "--threads", "1"])
    assert done.exit_code == 0, done.output
    assert "it counts" in done.output
    return out


def test_only_the_counter_is_new_in_the_weights(yes_no, counting):
    old, new = load_file(yes_no / "model.safetensors"), load_file(counting / "model.safetensors")
    assert set(new) - set(old) == {"counter.weight", "counter.bias"}
    assert all(torch.equal(old[name], new[name]) for name in old)
    assert new["counter.weight"].shape == (2, 896)
    extends = json.loads((counting / "model.json").read_text())["counting"]["recipe"]["extends"]
    without = save({name: new[name] for name in old})
    assert hashlib.sha256(without).hexdigest() == extends["weights_sha256"] == load_model(yes_no).card.weights_sha256


def test_options_of_a_training_beside_extend_are_refused(yes_no, labels, tmp_path):
    arguments = ["train", str(labels), "--extend", str(yes_no), "--out", str(tmp_path / "m"), "--made-cells", "0"]
    for more in (["--cross-validate"], ["--network", "resnet18-att", "--epochs", "3"], ["--restart"]):
        error = CliRunner().invoke(app, [*arguments, *more]).exception
        assert isinstance(error, UsageError)
        assert more[0] in error.message
    assert not (tmp_path / "m").exists()


def test_a_counter_on_labelled_cells_alone(yes_no, labels, tmp_path):
    arguments = ["train", str(labels), "--extend", str(yes_no), "--out", str(tmp_path / "m"), "--threads", "1"]
    done = CliRunner().invoke(app, [*arguments, "--validation", str(labels), "--made-cells", "0"])
    assert done.exit_code == 0, done.output
    counting = load_model(tmp_path / "m").card.counting
    assert counting is not None
    assert [data.name for data in counting.training_data] == ["labelled"]


def test_every_score_and_map_is_the_same_to_the_last_bit(yes_no, counting):
    rng = np.random.default_rng(1)
    pixels = np.stack([np.repeat(draw_cell(rng, n % 3, 224)[..., None], 3, 2) for n in range(9)])
    scored = []
    for path in (yes_no, counting):
        with Classifier(load_model(path), device="cpu", minibatch=4, threads=1) as classifier:
            scored.append(classifier.score(pixels))
    assert np.array_equal(scored[0].p_mn, scored[1].p_mn)
    assert np.array_equal(scored[0].maps, scored[1].maps)
    assert scored[0].ratios is None
    assert scored[1].ratios is not None


def test_the_card_keeps_what_was_measured_and_says_what_was_added(yes_no, counting):
    old, new = load_model(yes_no).card, load_model(counting).card
    assert (new.endpoint, new.version) == ("mn", "4+counts")
    assert (new.metrics, new.threshold, new.recipe) == (old.metrics, old.threshold, old.recipe)
    assert new.limitations == f"Random. {COUNTS_ROUGHLY} Useless."
    assert new.counting is not None
    assert 3 <= new.counting.mean_3plus <= 5
    names = [part.name for part in new.counting.training_data]
    assert names == ["labelled", "composite", "simulated"]
    labelled = new.counting.training_data[0]
    assert (labelled.n, labelled.n_mn) == (64, 64)
    check = new.counting.checks[0]
    assert (check.data, check.n) == ("validation, labelled", 84)
    assert sum(map(sum, check.confusion)) == 84
    assert [sum(row) for row in check.confusion] == [20, 21, 21, 22]
    assert check.true_mn_per_cell == pytest.approx((21 + 42 + 66) / 84, abs=1e-4)
    assert check.ci_low <= check.mean_absolute_error <= check.ci_high


def test_the_same_command_gives_the_same_counter(yes_no, labels, counting, tmp_path):
    request = ExtendRequest(yes_no, labels, tmp_path / "again", labels, synthetic_cells=6)
    extend_model(request)
    old, new = (load_file(path / "model.safetensors") for path in (counting, tmp_path / "again"))
    assert torch.equal(old["counter.weight"], new["counter.weight"])


def test_a_counting_model_may_get_a_new_counter_in_place(counting, yes_no, labels, tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    for file in counting.iterdir():
        (path / file.name).write_bytes(file.read_bytes())
    card = extend_model(ExtendRequest(path, labels, path, labels, synthetic_cells=0))
    assert card.version == "4+counts"
    assert card.limitations.count(COUNTS_ROUGHLY) == 1
    assert card.counting is not None
    assert card.counting.recipe["extends"]["weights_sha256"] == load_model(yes_no).card.weights_sha256  # type: ignore[call-overload]
    assert [check.data for check in card.counting.checks] == ["validation, labelled"]


def test_an_evaluation_measures_the_counts_and_a_yes_no_model_has_none(counting, yes_no, labels):
    found = evaluate(EvaluationRequest(str(counting), labels, bootstrap=50, threads=1))
    assert found.counts is not None
    assert found.counts.cells == 84
    check = load_model(counting).card.counting.checks[0]
    assert found.counts.confusion == check.confusion
    assert found.counts["count_error"].value == pytest.approx(check.mean_absolute_error, abs=1e-4)
    assert found.counts["true_mn_per_1000"].value == pytest.approx(1000 * (21 + 42 + 66) / 84)
    assert found.counts["mn_per_1000"].low <= found.counts["mn_per_1000"].value <= found.counts["mn_per_1000"].high
    assert "clusters (slide)" in found.counts["count_error"].method
    assert evaluate(EvaluationRequest(str(yes_no), labels, bootstrap=50, threads=1)).counts is None


def test_tables_and_page_of_an_evaluation_show_the_counts(counting, labels, tmp_path):
    arguments = ["evaluate", str(counting), str(labels), "--out", str(tmp_path / "e"), "--bootstrap", "20"]
    done = CliRunner().invoke(app, [*arguments, "--threads", "1"])
    assert done.exit_code == 0, done.output
    assert "true; count error" in done.output
    with (tmp_path / "e/scores.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["true_n_mn"] for row in rows[:4]] == ["5", "1", "2", "3"]
    assert all((int(row["n_mn"]) > 0) == (row["called_mn"] == "1") for row in rows)
    with (tmp_path / "e/metrics.csv").open(encoding="utf-8-sig", newline="") as stream:
        names = [row["figure"] for row in csv.DictReader(stream)]
    assert {"count_error", "mn_per_1000", "true_mn_per_1000", "mn_ratio"} <= set(names)
    assert json.loads((tmp_path / "e/metrics.json").read_text())["counts"]["cells"] == 84
    assert "Number of micronuclei" in (tmp_path / "e/index.html").read_text()


def test_labels_without_counts_are_refused_before_anything_is_scored(yes_no, labels, tmp_path):
    plain = labels.parent / "plain.csv"
    plain.write_text("file,label\n01.png,mn\n00.png,nomn\n")
    with pytest.raises(TrainingError, match="has a count of micronuclei"):
        extend_model(ExtendRequest(yes_no, plain, tmp_path / "out", labels))
    assert not (tmp_path / "out").exists()


class Dense(nn.Module):
    """As AlexNet has its classifier, on everything at once; small."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(3 * 224 * 224, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(x.flatten(1))


def test_slides_that_read_the_same_are_held_out_together(labels, tmp_path):
    table = labels.with_name("alike.csv")
    table.write_text(labels.read_text().replace("S1", "s0"))
    for seed in range(6):
        said: list[str] = []
        parts = counted_cells(ExtendRequest(tmp_path, table, tmp_path, seed=seed), said.append)
        sides = [{cell.slide for cell in part} for part in parts]
        assert sum(bool(side & {"S0", "s0"}) for side in sides) == 1
        assert any("'S0' and 's0' read the same" in line for line in said)


def test_slides_and_pictures_in_both_tables_are_said(labels, tmp_path):
    said: list[str] = []
    counted_cells(ExtendRequest(tmp_path, labels, tmp_path, labels), said.append)
    assert any("validation cells are training cells, too" in line for line in said)
    assert any("validation cells are of donors or slides that training cells are of, too" in line for line in said)


def test_a_network_that_cannot_count_is_refused(labels, tmp_path, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "dense", Dense)
    write_model_directory(tmp_path / "dense", Dense(), fields(architecture="dense"))
    with pytest.raises(ModelError, match="only networks of pooled streams can count"):
        extend_model(ExtendRequest(tmp_path / "dense", labels, tmp_path / "out", labels))
