"""A whole small training: real data in, a loadable model directory with a filled card out."""

import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer import Typer
from typer.testing import CliRunner

from mnbatch.cli.train import train
from mnbatch.errors import TrainingError
from mnbatch.evaluation.labelled_cells import load_crops, read_labels
from mnbatch.evaluation.metrics import auc
from mnbatch.imaging.preparation import Preparation, network_input
from mnbatch.inference.model_directory import load_model
from mnbatch.training import training_pools
from mnbatch.training.recipe import Recipe
from mnbatch.training.synthetic_cells import Preparer
from mnbatch.training.training_request import Request
from mnbatch.training.training_run import _cells, train_model
from tests.in_process import mnbatch

pytestmark = pytest.mark.usefixtures("few_resamples")

TINY = Recipe(epochs=2, cells_per_epoch=16, minibatch=8, synthetic_cells=6, smear=0.0, bf16=False)


@pytest.fixture(autouse=True)
def _few_validation_cells(monkeypatch):
    monkeypatch.setattr(training_pools, "VALIDATION_CELLS", 4)


def test_training_writes_a_loadable_model_that_scores_as_it_was_validated(crop_folder, tmp_path):
    lines: list[str] = []
    request = Request(crop_folder, tmp_path / "model", crop_folder, init="random", threads=1, device="cpu")
    card = train_model(request, TINY, lines.append)
    model = load_model(tmp_path / "model")
    assert model.card == card
    assert card.stains == ("fluorescence", "giemsa")
    assert [data.name for data in card.training_data] == ["labelled", "dressed", "composite", "simulated"]
    assert card.sensitivity is not None
    assert card.sensitivity.total == 8
    scores = card.validation_scores
    assert sum(scores.mn) == 8
    assert sum(scores.nomn) == card.specificity.total
    assert scores.data == card.sensitivity.data == "validation, labelled"
    assert sum("epoch" in line for line in lines) == 2
    stated = next(m for m in card.metrics if m.name == "auc" and m.data == "validation, labelled")
    assert stated.value == pytest.approx(product_auc(model, crop_folder), abs=0.02)


def product_auc(model, folder) -> float:
    """AUC by the very steps of a run: prepare, network input, normalise, network."""
    crops, labels = load_crops(read_labels(folder), model.card.preparation)
    seen = torch.from_numpy(network_input(crops, model.card.preparation)).permute(0, 3, 1, 2).float() / 255
    mean = torch.tensor(model.card.normalisation.mean).view(1, 3, 1, 1)
    std = torch.tensor(model.card.normalisation.std).view(1, 3, 1, 1)
    with torch.no_grad():
        logits = model.network((seen - mean) / std)
    return auc((logits[:, 1] - logits[:, 0]).double().numpy(), labels)


def test_the_same_seed_gives_the_same_weights(crop_folder, tmp_path):
    """One epoch of every source; what lies between epochs is in test_checkpoint.py."""
    digests, short = [], TINY.model_copy(update={"epochs": 1, "synthetic_cells": 4, "cells_per_epoch": 8})
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        out = tmp_path / name
        request = Request(crop_folder, out, crop_folder, network="alex-ca", init="random", seed=seed, threads=1)
        digests.append(train_model(request, short, lambda line: None).weights_sha256)
    assert digests[0] == digests[1] != digests[2]


def test_made_cells_are_the_same_from_one_process_and_from_two():
    from functools import partial

    from mnbatch.training.synthetic_cells import simulated

    preparer = Preparer(Preparation(polarity="density"), (0.4, 0.4, 0.2))
    pools = [
        training_pools.made_pool("simulated", partial(simulated, seed=3), 6, preparer, 1.0, workers)
        for workers in (0, 2)
    ]
    assert np.array_equal(pools[0].pixels, pools[1].pixels)
    assert np.array_equal(pools[0].labels, pools[1].labels)


def test_too_few_made_cells_are_refused_before_one_is_drawn(crop_folder, tmp_path):
    recipe = TINY.model_copy(update={"synthetic_cells": 3, "simulated": 0.0})
    lines: list[str] = []
    with pytest.raises(TrainingError, match=r"1 would be dressed cells.*--made-cells"):
        train_model(Request(crop_folder, tmp_path / "m", crop_folder, init="random"), recipe, lines.append)
    assert [line for line in lines if line.startswith("making")] == []
    assert not (tmp_path / "m").exists()


def test_a_source_that_gives_one_class_is_named_when_it_is_drawn():
    recipe = TINY.model_copy(update={"labelled": 0.0, "dressed": 0.0, "composite": 0.0, "hard": 1.0})
    preparer = Preparer(Preparation(polarity="density"), (0.4, 0.4, 0.2))
    lines: list[str] = []
    maker = training_pools.PoolMaker(recipe, training_pools.Sources(), preparer, 1, 0, lines.append)
    picture = np.zeros((64, 64, 3), np.uint8)
    makers = {
        "simulated": lambda indices: ((picture, 1) for _ in indices),
        "hard": lambda indices: ((picture, 0) for _ in indices),
    }
    with pytest.raises(TrainingError, match="None of the 6 simulated cells is without micronuclei"):
        maker._made("training", makers, lambda _: 6)
    assert lines == ["making 6 simulated cells"]
    with pytest.raises(TrainingError, match="None of 6 hard cells could be made"):
        maker._made("training", {"hard": lambda _: iter(())}, lambda _: 6)


def test_a_process_that_makes_cells_imports_no_torch():
    code = "import sys; import mnbatch.training.synthetic_cells; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_part_of_the_data_is_set_aside_when_no_validation_is_given(crop_folder, tmp_path):
    recipe = TINY.model_copy(update={"dressed": 0.0, "composite": 0.0, "simulated": 0.0, "epochs": 1})
    request = Request(crop_folder, tmp_path / "m", validation_share=0.5, init="random", threads=1, seed=3)
    lines: list[str] = []
    card = train_model(request, recipe, lines.append)
    assert card.training_data[0].n == 8
    assert card.stains == ("fluorescence",)
    assert "16 of 16 labelled cells have no donor or slide" in lines[0]
    assert lines[0].removeprefix("warning: ") in card.limitations


def test_the_command_says_what_it_wrote(crop_folder, tmp_path):
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(
        "cells_per_epoch = 8\nmade_cells = 2\nsmear = 0.0\ndressed = 0.0\ncomposite = 0.0\nbf16 = false\n"
    )
    app = Typer()
    app.command()(train)
    arguments = [
        str(crop_folder),
        "--validation",
        str(crop_folder),
        "--out",
        str(tmp_path / "model"),
        "--init",
        "random",
    ]
    result = CliRunner().invoke(app, [*arguments, "--recipe", str(recipe), "--epochs", "1", "--threads", "1"])
    assert result.exit_code == 0, result.output
    assert "Model attention-alexnet 1 is in" in result.output
    assert load_model(tmp_path / "model").card.recipe["epochs"] == 1


def test_errors_of_the_data_come_before_anything_is_made(tmp_path, crop_folder):
    lines: list[str] = []
    with pytest.raises(TrainingError, match="nothing at"):
        train_model(Request(tmp_path / "absent", tmp_path / "m"), TINY, lines.append)
    with pytest.raises(TrainingError, match="no file of weights"):
        train_model(Request(crop_folder, tmp_path / "m", crop_folder, init="absent.pth"), TINY, lines.append)
    assert [line for line in lines if not line.startswith("warning")] == []
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("option", "word", "said"),
    [
        ("--device", "foo", "Unknown device 'foo'"),
        ("--device", "cuda:99", "this machine offers"),
        ("--name", "My Lab", "For example --name my-lab."),
        ("--licence", "", "--licence is empty"),
    ],
)
@pytest.mark.parametrize("way", [[], ["--cross-validate"], ["--counts"]])
def test_what_no_training_could_end_with_is_refused_at_the_start(crop_folder, tmp_path, option, word, said, way):
    done = mnbatch("train", crop_folder, "--out", tmp_path / "m", "--init", "random", option, word, *way)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert list(tmp_path.glob("m*")) == []


def test_a_network_that_is_not_known_is_no_matter_of_the_name(crop_folder, tmp_path):
    done = mnbatch("train", crop_folder, "--out", tmp_path / "m", "--init", "random", "--network", "ResNet 18")
    assert done.returncode == 2
    assert "--name" not in done.stderr


def test_a_donor_under_two_spellings_is_not_divided(crop_folder, tmp_path):
    table = crop_folder / "labels.csv"
    rows = [f"{label}/{n}.png,{label},{('D1', 'd1', 'D2', 'D3')[n % 4]}" for label in ("mn", "nomn") for n in range(8)]
    table.write_text("\n".join(["file,label,donor", *rows]))
    asked = Request(table, tmp_path / "m", init="random", device="cpu")
    for seed in range(6):
        said: list[str] = []
        parts = _cells(replace(asked, seed=seed), said.append)
        sides = [{cell.path.stem for cell in part if int(cell.path.stem) % 4 < 2} for part in parts]
        assert set() in sides, "D1 and d1 are on one side"
        assert any("'D1' and 'd1' read the same" in line for line in said)


def damage(folder, what):
    """One fault in a copy of good data; returns what the message says of it."""
    if what == "class":
        for path in (folder / "mn").iterdir():
            path.unlink()
        return "no cell with micronuclei"
    if what == "image":
        (folder / "nomn" / "2.png").write_bytes(b"not an image")
        return r"nomn/2\.png cannot be used"
    table = folder / "labels.csv"
    rows = {"missing": "mn/1.png,mn\nmn/99.png,nomn\n", "bytes": "mn/1.png,mn\nnomn/1.png,\xe9\n"}[what]
    table.write_text(f"file,label\n{rows}", encoding="latin-1")
    return {"missing": r"line 3: there is no file .*99\.png", "bytes": "not UTF-8"}[what]


@pytest.mark.parametrize("what", ["class", "image", "missing", "bytes"])
@pytest.mark.parametrize("part", ["data", "validation"])
def test_bad_data_are_refused_before_anything_is_trained(crop_folder, tmp_path, part, what):
    bad = tmp_path / "bad"
    shutil.copytree(crop_folder, bad)
    words = damage(bad, what)
    place = bad / "labels.csv" if (bad / "labels.csv").exists() else bad
    data, validation = (place, crop_folder) if part == "data" else (crop_folder, place)
    lines: list[str] = []
    with pytest.raises(TrainingError, match=words) as caught:
        train_model(Request(data, tmp_path / "m", validation, init="random", device="cpu"), TINY, lines.append)
    assert caught.value.next_step
    assert [line for line in lines if not line.startswith("warning")] == []
    assert not (tmp_path / "m").exists()


def test_one_slide_cannot_be_divided(crop_folder, tmp_path):
    table = crop_folder / "labels.csv"
    rows = [f"{label}/{number}.png,{int(label == 'mn')},A" for label in ("mn", "nomn") for number in range(8)]
    table.write_text("\n".join(["file,mn_count,slide", *rows]))
    with pytest.raises(TrainingError, match=r"All 16 cells are of one person or slide \(A\)"):
        train_model(Request(table, tmp_path / "m", init="random", device="cpu"), TINY, lambda line: None)


def table_of(folder, name, files, donors):
    rows = [
        f"{file},{'mn' if file.startswith('mn') else 'nomn'},{donor}" for file, donor in zip(files, donors, strict=True)
    ]
    (folder / name).write_text("\n".join(["file,label,donor", *rows]) + "\n")
    return folder / name


def test_a_person_in_both_tables_is_said_and_stands_on_the_card(crop_folder, tmp_path):
    files = [[f"{label}/{i}.png" for label in ("mn", "nomn") for i in part] for part in (range(4), range(4, 8))]
    training = table_of(crop_folder, "train.csv", files[0], ["D0", "D1"] * 4)
    validation = table_of(crop_folder, "validation.csv", files[1], ["d0", "D2"] * 4)
    said: list[str] = []
    request = Request(training, tmp_path / "model", validation, init="random", threads=1, device="cpu")
    short = TINY.model_copy(update={"epochs": 1, "cells_per_epoch": 8, "synthetic_cells": 4})
    card = train_model(request, short, said.append)
    told = "4 of 8 validation cells are of donors or slides that training cells are of, too (D0 and d0)"
    assert any(line.startswith(f"warning: {told}") for line in said)
    assert told in card.limitations


def test_a_full_disk_in_a_training_speaks_of_no_slides(crop_folder, tmp_path, monkeypatch):
    import errno

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "x")

    monkeypatch.setattr("mnbatch.training.training_run.train_model", full)
    done = mnbatch("train", str(crop_folder), "--out", str(tmp_path / "m"), "--init", "random", "--device", "cpu")
    assert "nothing is kept yet, so it starts anew" in done.stderr
    assert "slides" not in done.stderr
