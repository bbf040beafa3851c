"""Every network can be trained, carries its tied colours over exactly, and serves when it is trained."""

import csv
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet18
from typer.testing import CliRunner

from mnbatch.cli import app
from mnbatch.errors import TrainingError
from mnbatch.inference.model_directory import load_model
from mnbatch.networks import ARCHITECTURES
from mnbatch.training import training_loop
from mnbatch.training.augmentation import normalise_for
from mnbatch.training.initial_weights import started, tie_colours
from mnbatch.training.pool_feed import Pool, pool_trainer
from mnbatch.training.recipe import Recipe
from mnbatch.training.training_loop import in_backbone
from mnbatch.training.training_request import Request
from mnbatch.training.training_run import train_model

LARGE = {"vgg16", "vgg16-att", "resnet50", "resnet50-att", "alexnet"}
NAMES = [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in ARCHITECTURES]
SHARES = (0.4, 0.4, 0.2)
OWN_ONLY = {"dressed": 0.0, "composite": 0.0, "smear": 0.0, "simulated": 0.0}
# Without bfloat16, which a CPU that has none of it imitates ten times as slowly; it has a test of its own.
TINY = Recipe(epochs=1, cells_per_epoch=4, minibatch=4, averaging=0.5, bf16=False, **OWN_ONLY)
CPU = torch.device("cpu")


@pytest.mark.parametrize("name", NAMES)
def test_tied_colours_give_what_the_one_channel_gave(name):
    torch.set_num_threads(1)
    torch.manual_seed(1)
    network = ARCHITECTURES[name]().train().double()  # so that batch normalisation keeps random weights alive
    normalise = normalise_for(network)
    colours = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(1)).double()
    grey = (colours * colours.new_tensor(SHARES).view(1, 3, 1, 1)).sum(1, keepdim=True)

    def logits(cells: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(2)  # of dropout
        return network(normalise(cells))

    with torch.no_grad():
        on_grey, untied = logits(grey), logits(colours)
        tie_colours(network, SHARES)
        tied = logits(colours)
    assert (untied - on_grey).abs().max() > 1e-3
    assert (tied - on_grey).abs().max() < 1e-4 * (untied - on_grey).abs().max()


@pytest.mark.parametrize("name", NAMES)
def test_an_epoch_trains_every_network(name, pool):
    torch.set_num_threads(1)
    few = replace(pool, pixels=pool.pixels[:4], labels=pool.labels[:4])
    network, words = started(name, "random", 1, SHARES)
    assert words == "random weights"
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    head = [key for key, _ in network.named_parameters() if not in_backbone(network, key)]
    assert 0 < len(head) < len(list(network.parameters()))
    trained = pool_trainer(network, [few], [few], TINY, normalise_for(network), 1, CPU).run()
    after = trained.network.state_dict()
    assert all(bool(torch.isfinite(tensor).all()) for tensor in after.values())
    assert any(not torch.equal(after[key], before[key]) for key in head)
    means = [key for key in before if key.endswith("running_mean")]
    assert all(not torch.equal(after[key], before[key]) for key in means)


@pytest.mark.parametrize("name", NAMES)
def test_every_network_trains_in_bfloat16(name, monkeypatch):
    """As the recipe has it, on small cells: no layer needs numbers of the precision that it is not given."""
    torch.set_num_threads(1)
    monkeypatch.setattr(training_loop, "has_bf16", lambda device: True)  # imitated, slowly, where it is not there
    assert Recipe().bf16
    size = 224 if name in ("alexnet", "vgg16") else 64  # dense layers are of one size
    network, _ = started(name, "random", 1, SHARES)
    small = Pool(
        "labelled", np.random.default_rng(1).integers(0, 256, (2, size, size, 1), np.uint8), np.array([True, False])
    )
    recipe = TINY.model_copy(update={"bf16": True, "cells_per_epoch": 2, "minibatch": 2})
    seen = []
    hook = network.register_forward_hook(lambda module, given, logits: seen.append(torch.is_autocast_enabled("cpu")))
    trained = pool_trainer(network, [small], [], recipe, normalise_for(network), 1, CPU).run()
    hook.remove()
    assert seen == [True]
    assert math.isfinite(trained.best.loss)
    assert all(bool(torch.isfinite(weight).all()) for weight in network.parameters())


def test_the_seed_decides_the_start_of_networks_with_a_start_of_their_own():
    states = [started("mobilenet", "random", seed, None)[0].state_dict() for seed in (1, 1, 2)]
    key = "features.0.weight"
    assert torch.equal(states[0][key], states[1][key])
    assert not torch.equal(states[0][key], states[2][key])


def test_a_backbone_of_torchvision_fills_the_backbone_and_the_card_says_so(tmp_path):
    torch.manual_seed(4)
    whole = resnet18(weights=None)
    nn.init.ones_(whole.bn1.running_mean)
    save_file(whole.state_dict(), tmp_path / "resnet18.safetensors")
    network, words = started("resnet18-att", str(tmp_path / "resnet18.safetensors"), 1, None)
    assert torch.equal(network.backbone.conv1.weight, whole.conv1.weight)
    assert torch.equal(network.backbone.bn1.running_mean, torch.ones(64))
    assert "60 weights of the resnet18 of the file resnet18.safetensors; 14 others" in words


def test_what_cannot_start_is_said(tmp_path):
    with pytest.raises(TrainingError, match="no network 'resnet19'") as caught:
        started("resnet19", "random", 1, None)
    assert "resnet18" in caught.value.next_step
    with pytest.raises(TrainingError, match="no ImageNet weights for a MobileNet"):
        started("mobilenet", "imagenet", 1, None)
    torch.manual_seed(0)
    save_file(ARCHITECTURES["alex-light"]().state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(TrainingError, match="do not fit this network"):
        started("resnet18", str(tmp_path / "other.safetensors"), 1, None)


@pytest.mark.usefixtures("few_resamples")
def test_a_trained_network_evaluates_and_runs(crop_folder, tmp_path):
    """The whole way, through the commands: train, evaluate, run."""
    request = Request(crop_folder, tmp_path / "model", crop_folder, init="random", threads=1, device="cpu")
    card = train_model(replace(request, network="mobilenet", name="mobile"), TINY, lambda line: None)
    assert card.architecture == load_model(tmp_path / "model").card.architecture == "mobilenet"
    assert card.recipe["initialised"] == "random weights"
    model, runner = str(tmp_path / "model"), CliRunner()
    done = runner.invoke(app, ["evaluate", model, str(crop_folder), "--out", str(tmp_path / "e"), "--bootstrap", "20"])
    assert done.exit_code == 0, done.output
    slide = tmp_path / "export" / "D1" / "A"
    slide.mkdir(parents=True)
    for path in sorted((crop_folder / "mn").iterdir()):
        Image.open(path).save(slide / path.name)
    arguments = ["run", str(tmp_path / "export"), "--out", str(tmp_path / "out"), "--model", model]
    done = runner.invoke(app, [*arguments, "--layout", "donor-slide-folders", "--stain", "fluorescence"])
    assert done.exit_code == 0, done.output
    with next((tmp_path / "out").glob("slides/*/cells.csv")).open(encoding="utf-8-sig", newline="") as file:
        told = {row["source"].split("/")[-1]: float(row["p_mn"]) for row in csv.DictReader(file)}
    with (tmp_path / "e" / "scores.csv").open(encoding="utf-8-sig", newline="") as file:
        evaluated = {
            row["file"].split("/")[-1]: float(row["p_mn"]) for row in csv.DictReader(file) if "mn/" in row["file"][:3]
        }
    assert told == pytest.approx(evaluated, abs=1e-5)
    assert len(told) == 8


def test_a_network_that_cannot_count_is_said_before_it_is_trained(crop_folder, tmp_path):
    arguments = ["train", str(crop_folder), "--out", str(tmp_path / "m"), "--network", "alexnet", "--counts"]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, TrainingError)
    assert "alexnet cannot count" in done.exception.message
    assert not (tmp_path / "m").exists()
