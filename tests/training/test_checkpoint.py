"""A training that was killed goes on and ends with the same bytes; another training is never taken for it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from mnbatch.errors import MismatchError, StorageError, TrainingError
from mnbatch.inference.model_directory import load_model
from mnbatch.training import training_loop
from mnbatch.training.checkpoint import RECORD, Checkpoint
from mnbatch.training.pool_feed import pool_trainer
from mnbatch.training.recipe import Recipe
from mnbatch.training.training_loop import Trainer
from mnbatch.training.training_request import Request
from mnbatch.training.training_run import to_input, train_model
from tests.in_process import mnbatch

OWN_ONLY = {"dressed": 0.0, "composite": 0.0, "smear": 0.0, "simulated": 0.0}
TINY = Recipe(epochs=3, cells_per_epoch=4, minibatch=2, averaging=0.5, bf16=False, **OWN_ONLY)
CPU = torch.device("cpu")


class Normalised(nn.Module):
    """With batch normalisation and dropout: buffers and random numbers matter."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 6, 9, stride=6), nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(6))
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Linear(216, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).flatten(1))


class Killed(Exception):
    pass


def request(crop_folder: Path, out: Path, **changes: object) -> Request:
    return replace(Request(crop_folder, out, crop_folder, init="random", threads=1, device="cpu"), **changes)


def digest(out: Path) -> str:
    return sha256((out / "model.safetensors").read_bytes()).hexdigest()


def killed_after(epoch: int):
    """Says what it is told until an epoch is over."""

    def say(line: str) -> None:
        if line.startswith(f"epoch {epoch}/"):
            raise Killed

    return say


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_a_restored_trainer_ends_with_the_same_weights_and_buffers(pool, tmp_path, optimiser):
    recipe = TINY.model_copy(update={"optimiser": optimiser})

    def trainer() -> Trainer:
        return pool_trainer(Normalised(), [pool], [pool], recipe, to_input, 1, CPU)

    whole = trainer().run()
    first = trainer()
    checkpoint = Checkpoint(tmp_path / "m")

    def stop(epoch, trained):
        checkpoint.save(first.snapshot(), {}, {})
        if epoch.number == 2:
            raise Killed

    first.report = stop
    with pytest.raises(Killed):
        first.run()
    torch.rand(7)  # somebody else draws
    second = trainer()
    second.restore(Checkpoint(tmp_path / "m").load())
    again = second.run()
    assert [(e.loss, e.aucs) for e in again.history] == [(e.loss, e.aucs) for e in whole.history]
    assert again.best.number == whole.best.number
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name]), name


def test_averaged_weights_come_with_averaged_statistics(pool):
    trainer = pool_trainer(Normalised(), [pool], [pool], TINY.model_copy(update={"averaging": 0.0}), to_input, 1, CPU)
    trainer.run()
    fresh = Normalised().state_dict()
    for name, tensor in trainer.averaged.state_dict().items():
        assert torch.equal(tensor, trainer.network.state_dict()[name]), name
        assert name.startswith("classifier.1.") or not torch.equal(tensor, fresh[name]), name


def test_a_killed_process_loses_no_epoch(crop_folder, tmp_path):
    """SIGKILL in the second epoch; the same command then ends with the weights of an undisturbed training."""
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(
        "".join(
            f"{k} = {json.dumps(v)}\n"
            for k, v in TINY.model_dump().items()
            if k in ("epochs", "cells_per_epoch", "minibatch", "averaging", "bf16", *OWN_ONLY)
        )
    )
    command = [sys.executable, "-m", "mnbatch", "train", str(crop_folder), "--validation", str(crop_folder)]
    command += ["--init", "random", "--threads", "1", "--device", "cpu", "--recipe", str(recipe)]
    killed = subprocess.Popen([*command, "--out", str(tmp_path / "a")], stderr=subprocess.PIPE, text=True)
    for line in killed.stderr:
        if line.startswith("epoch 1/3"):
            os.kill(killed.pid, signal.SIGKILL)
            break
    assert killed.wait() == -signal.SIGKILL
    killed.stderr.close()
    begun = load_model(tmp_path / "a").card
    assert begun.recipe["best_epoch"] == 1
    assert begun.unfinished
    assert begun.version.endswith(" (unfinished training: epoch 1 of 3)")
    second = mnbatch(*command[3:], "--out", tmp_path / "a")
    assert second.returncode == 0, second.stderr
    done = json.loads((tmp_path / "a.training" / RECORD).read_text())
    assert "going on after epoch" in second.stderr
    assert [row["number"] for row in done["history"]] == [1, 2, 3]
    train_model(request(crop_folder, tmp_path / "b"), TINY, lambda line: None)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    cards = [load_model(tmp_path / name).card.model_dump(exclude={"created"}) for name in "ab"]
    assert cards[0] == cards[1]
    assert not load_model(tmp_path / "a").card.unfinished
    assert "unfinished" not in cards[0]["version"]


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_training_with_a_word_on_what_is_kept(crop_folder, tmp_path, number, expected):
    recipe = tmp_path / "tiny.toml"
    kept = TINY.model_dump(include={"minibatch", "averaging", "bf16", "cells_per_epoch", *OWN_ONLY})
    recipe.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in kept.items()))
    command = [sys.executable, "-m", "mnbatch", "train", str(crop_folder), "--validation", str(crop_folder)]
    command += ["--init", "random", "--threads", "1", "--device", "cpu", "--recipe", str(recipe), "--epochs", "500"]
    training = subprocess.Popen([*command, "--out", str(tmp_path / "a")], stderr=subprocess.PIPE, text=True)
    for line in training.stderr:
        if line.startswith("epoch 1/500"):
            os.kill(training.pid, number)
            break
    said = training.stderr.read()
    training.stderr.close()
    assert training.wait() == expected
    assert f"Interrupted; the training is kept in {tmp_path / 'a.training'}" in said
    assert "Run the same command again to go on." in said
    assert "Traceback" not in said


@pytest.mark.usefixtures("few_resamples")
def test_a_finished_training_says_so_and_stays(crop_folder, tmp_path):
    asked = request(crop_folder, tmp_path / "m")
    train_model(asked, TINY, lambda line: None)
    before = {f: f.read_bytes() for f in (tmp_path / "m").iterdir()}
    assert [f.suffix for f in (tmp_path / "m.training").glob("*.safetensors")] == [".safetensors"]  # the best weights
    lines: list[str] = []
    train_model(asked, TINY, lines.append)
    # The same crops are given as validation cells, which is said each time.
    assert [line.partition(":")[0] == "warning" for line in lines] == [True, False]
    assert "nothing is left to train" in lines[1]
    assert {f: f.read_bytes() for f in (tmp_path / "m").iterdir()} == before


@pytest.mark.usefixtures("few_resamples")
def test_a_finished_model_that_is_gone_or_named_anew_is_written_again_untrained(crop_folder, tmp_path):
    asked = request(crop_folder, tmp_path / "m")
    train_model(asked, TINY, lambda line: None)
    before = digest(tmp_path / "m")
    shutil.rmtree(tmp_path / "m")
    lines: list[str] = []
    card = train_model(replace(asked, name="another", note="Ours."), TINY, lines.append)
    assert not any(line.startswith("epoch") for line in lines)
    assert digest(tmp_path / "m") == before
    assert card.name == "another"
    assert len(card.recipe["history"]) == 3


@pytest.fixture
def stopped(crop_folder, tmp_path, few_resamples) -> Request:
    """A training into `m` that was killed after its first epoch."""
    asked = request(crop_folder, tmp_path / "m")
    with pytest.raises(Killed):
        train_model(asked, TINY, killed_after(1))
    return asked


def refused(asked: Request, recipe: Recipe, words: str) -> None:
    with pytest.raises(MismatchError, match=words) as caught:
        train_model(asked, recipe, lambda line: None)
    assert "--restart" in caught.value.next_step
    assert caught.value.exit_code == 5


def test_another_training_is_refused_and_restart_starts_anew(stopped, crop_folder):
    refused(replace(stopped, seed=2), TINY, r"other seed \(1, now 2\)")
    refused(stopped, TINY.model_copy(update={"learning_rate": 0.001}), r"learning_rate \(0.0003, now 0.001\)")
    refused(stopped, TINY.model_copy(update={"epochs": 9}), r"epochs \(3, now 9\)")
    refused(replace(stopped, network="alex-light"), TINY, r"network \(attention-alexnet, now alex-light\)")
    with Image.open(crop_folder / "mn" / "1.png") as image:
        image.transpose(Image.Transpose.ROTATE_90).save(crop_folder / "nomn" / "1.png")
    refused(stopped, TINY, "labelled cells; validation cells")
    with pytest.raises(Killed):
        train_model(replace(stopped, restart=True), TINY, killed_after(1))
    assert len(Checkpoint(stopped.out).record.history) == 1


@pytest.mark.parametrize("file", [RECORD, "state-1-0.safetensors", "best-1.safetensors"])
def test_a_damaged_checkpoint_is_named_and_can_be_given_up(stopped, file):
    damaged = stopped.out.with_name("m.training") / file
    damaged.write_bytes(damaged.read_bytes()[:-40])
    with pytest.raises(TrainingError, match=r"m\.training is damaged.*--restart"):
        train_model(stopped, TINY, lambda line: None)
    with pytest.raises(Killed):
        train_model(replace(stopped, restart=True), TINY, killed_after(1))


def test_tensors_of_another_network_are_named_and_not_taken(stopped):
    checkpoint = Checkpoint(stopped.out)
    small = {name: tensor.clone() for name, tensor in Normalised().state_dict().items()}
    snapshot, key = replace(checkpoint.load(), best_weights=small), checkpoint.record.key
    checkpoint.record = None
    checkpoint.save(snapshot, key, {})
    with pytest.raises(TrainingError, match="damaged"):
        train_model(stopped, TINY, lambda line: None)


def test_a_loss_that_is_no_number_leaves_what_was_trained(stopped, monkeypatch):
    monkeypatch.setattr(training_loop, "focal_loss", lambda logits, labels, gamma: logits.sum() * float("nan"))
    with pytest.raises(TrainingError, match="epoch 2: training has diverged") as caught:
        train_model(stopped, TINY, lambda line: None)
    assert "The model of epoch 1 stays where it is" in caught.value.next_step
    assert load_model(stopped.out).card.recipe["best_epoch"] == 1
    assert len(Checkpoint(stopped.out).record.history) == 1


def test_a_place_that_cannot_hold_the_training_is_said(crop_folder, tmp_path):
    (tmp_path / "m.training").write_text("a file")
    with pytest.raises(StorageError, match=r"m\.training cannot be read"):
        train_model(request(crop_folder, tmp_path / "m"), TINY, lambda line: None)


def test_a_training_stopped_within_an_epoch_ends_with_the_same_weights(pool, tmp_path):
    def trainer(progress=None) -> Trainer:
        return pool_trainer(Normalised(), [pool], [pool], TINY, to_input, 1, CPU, None, progress)

    whole = trainer().run()
    checkpoint = Checkpoint(tmp_path / "m")

    def stop(number: int, cells: int, seconds: float) -> None:
        if number == stopped_in and first.minibatches == 2:
            checkpoint.save(first.snapshot(), {}, {})
            raise Killed

    for stopped_in in (1, 2):
        first = trainer(stop)
        with pytest.raises(Killed):
            first.run()
        kept = Checkpoint(tmp_path / "m")
        assert kept.described() == f"an unfinished training of {stopped_in - 1} epochs and 2 minibatches"
        second = trainer()
        second.restore(kept.load())
        again = second.run()
        assert [(e.loss, e.aucs) for e in again.history] == [(e.loss, e.aucs) for e in whole.history]
        for name, tensor in whole.network.state_dict().items():
            assert torch.equal(tensor, again.network.state_dict()[name]), name


def test_a_folder_of_something_else_is_neither_gone_on_from_nor_removed(crop_folder, tmp_path):
    notes = tmp_path / "m.training" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    for restart in (False, True):
        with pytest.raises(StorageError, match="keeps no training of `mnbatch train`"):
            train_model(request(crop_folder, tmp_path / "m", restart=restart), TINY, lambda line: None)
    assert notes.read_text() == "mine"


def test_a_person_s_files_beside_a_training_outlive_it_and_its_restart(stopped):
    folder = stopped.out.with_name("m.training")
    for name in ("notes.txt", "weights.safetensors"):
        (folder / name).write_text("mine")
    train_model(stopped, TINY, lambda line: None)
    with pytest.raises(Killed):
        train_model(replace(stopped, restart=True), TINY, killed_after(1))
    assert [(folder / name).read_text() for name in ("notes.txt", "weights.safetensors")] == ["mine", "mine"]
