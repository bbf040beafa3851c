"""Exported files give the numbers of the product's own classifier, and none is left that does not."""

import json
import sys
from hashlib import sha256

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from mnbatch.cli import app
from mnbatch.errors import ModelError, UsageError
from mnbatch.imaging.preparation import Preparation, network_input
from mnbatch.inference import onnx_file
from mnbatch.inference.classifier import Classifier
from mnbatch.inference.model_directory import load_model, write_model_directory
from mnbatch.inference.onnx_file import Exported, export_onnx
from mnbatch.networks import ARCHITECTURES
from tests.inference.inference_helpers import card_fields, crops, random_network

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    """A model with a polarity, a temperature and channels that are normalised differently: nothing is neutral."""
    path = tmp_path_factory.mktemp("models") / "model"
    fields = card_fields(
        preparation=Preparation(polarity="density"),
        temperature=1.7,
        normalisation={"mean": (0.4, 0.45, 0.5), "std": (0.2, 0.23, 0.25)},
    )
    write_model_directory(path, random_network(), fields)
    return path


@pytest.fixture(scope="module")
def exported(dense, tmp_path_factory):
    file = tmp_path_factory.mktemp("onnx") / "model.onnx"
    done = CliRunner().invoke(app, ["model", "export", str(dense), "--onnx", str(file)])
    assert done.exit_code == 0, done.output
    assert "Largest difference between torch and onnxruntime on 16 simulated cells: p_mn" in done.output
    return file


def test_the_file_scores_as_a_run_does(dense, exported):
    model, pixels = load_model(dense), crops(5)
    seen = network_input(pixels, model.card.preparation).transpose(0, 3, 1, 2).astype(np.float32)
    session = onnxruntime.InferenceSession(str(exported))
    logits, p_mn = session.run(["logits", "p_mn"], {"pixels": seen})
    with Classifier(model, device="cpu", minibatch=5, threads=1) as classifier:
        wanted = classifier.score(pixels)
    assert wanted.p_mn.std() > 0.01, "equal scores would prove nothing"
    assert np.allclose(p_mn, wanted.p_mn, atol=1e-5)
    assert logits.shape == (5, 2)
    assert session.run(["p_mn"], {"pixels": seen[:1]})[0].shape == (1,)


def test_the_card_beside_it_says_what_goes_in_and_what_a_call_is(dense, exported):
    card = json.loads(exported.with_suffix(".json").read_text())
    assert card["onnx_sha256"] == sha256(exported.read_bytes()).hexdigest()
    assert card["model_digest"] == load_model(dense).digest
    assert card["card"]["threshold"] == 0.5
    assert card["card"]["preparation"]["polarity"] == "density"
    assert card["checked_against_torch"]["largest_difference_p_mn"] <= 1e-4
    assert sorted(path.name for path in exported.parent.iterdir()) == ["model.json", "model.onnx"]


def test_a_file_that_gives_other_numbers_is_refused_and_not_left(dense, tmp_path, monkeypatch):
    class Off(Exported):
        def forward(self, pixels):
            logits, p_mn = super().forward(pixels)
            return (logits, p_mn) if torch.compiler.is_exporting() else (logits, p_mn + 0.0002)

    monkeypatch.setattr(onnx_file, "Exported", Off)
    model = load_model(dense)
    with pytest.raises(ModelError, match=r"other numbers than torch \(p_mn differs by 0\.0002"):
        export_onnx(model, tmp_path / "model.onnx", crops(4))
    assert list(tmp_path.iterdir()) == []


def test_absent_packages_are_named(dense, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None if name == "onnxscript" else sys.modules[__name__])
    with pytest.raises(UsageError, match="needs onnxscript") as caught:
        export_onnx(load_model(dense), tmp_path / "m.onnx", crops(4))
    assert "mnbatch[onnx]" in caught.value.next_step


def test_of_a_set_a_stain_must_be_chosen(tmp_path):
    done = CliRunner().invoke(app, ["model", "export", "attention-alexnet", "--onnx", str(tmp_path / "m.onnx")])
    assert isinstance(done.exception, UsageError)
    assert "--stain" in done.exception.next_step


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "attention-alexnet"])
def test_every_network_can_be_exported(name, tmp_path):
    torch.manual_seed(1)
    write_model_directory(tmp_path / "m", ARCHITECTURES[name]().eval(), card_fields(architecture=name))
    checked = export_onnx(load_model(tmp_path / "m"), tmp_path / "m.onnx", crops(4))
    assert max(checked.p_mn, checked.logits) < 1e-5
