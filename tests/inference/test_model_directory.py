"""What is written is what is loaded, and nothing damaged is ever loaded."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
import torch

from mnbatch.errors import ModelError, StorageError
from mnbatch.inference.catalogue import CARD_FILE, WEIGHTS_FILE, verify_model
from mnbatch.inference.model_directory import load_model, write_model_directory
from mnbatch.networks.attention_alexnet import AttentionAlexNet
from tests.inference.inference_helpers import card_fields, random_network


@pytest.fixture
def damaged(model_path: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(model_path, tmp_path / "model")


def test_loaded_network_is_the_one_that_was_written(model_path: Path, network: AttentionAlexNet) -> None:
    loaded = load_model(model_path)
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], tensor), name
    assert not loaded.network.training
    assert loaded.card.architecture == "attention-alexnet"
    assert loaded.card.software["torch"] == torch.__version__


def test_directory_holds_two_files_that_others_may_read(model_path: Path) -> None:
    assert sorted(file.name for file in model_path.iterdir()) == [CARD_FILE, WEIGHTS_FILE]
    assert model_path.stat().st_mode & 0o777 == 0o755
    assert sorted(model_path.parent.iterdir()) == [model_path]


def test_digest_covers_weights_and_card(model_path: Path, damaged: Path) -> None:
    content = (model_path / WEIGHTS_FILE).read_bytes() + (model_path / CARD_FILE).read_bytes()
    assert verify_model(model_path).digest == sha256(content).hexdigest()
    card = json.loads((damaged / CARD_FILE).read_text())
    card["threshold"] = 0.6
    (damaged / CARD_FILE).write_text(json.dumps(card))
    assert verify_model(damaged).digest != verify_model(model_path).digest


def test_altered_weights_are_refused_with_file_expected_actual_and_next_step(damaged: Path) -> None:
    content = bytearray((damaged / WEIGHTS_FILE).read_bytes())
    content[-5] ^= 1
    (damaged / WEIGHTS_FILE).write_bytes(content)
    expected = json.loads((damaged / CARD_FILE).read_text())["weights_sha256"]
    with pytest.raises(ModelError) as caught:
        load_model(damaged)
    assert caught.value.exit_code == 12
    for part in (str(damaged / WEIGHTS_FILE), expected, sha256(content).hexdigest()):
        assert part in caught.value.message
    assert "Restore" in caught.value.next_step
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [WEIGHTS_FILE, CARD_FILE])
def test_missing_file_is_named(damaged: Path, name: str) -> None:
    (damaged / name).unlink()
    with pytest.raises(ModelError, match=name) as caught:
        load_model(damaged)
    assert caught.value.next_step


def test_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        load_model(tmp_path / "nothing")


def test_truncated_card_is_refused(damaged: Path) -> None:
    text = (damaged / CARD_FILE).read_text()
    (damaged / CARD_FILE).write_text(text[: len(text) // 2])
    with pytest.raises(ModelError, match=r"model\.json is not a valid model card"):
        verify_model(damaged)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("threshold", 1.5),
        ("temperature", 0.0),
        ("stains", []),
        ("stains", ["fluorescent"]),
        ("classes", ["mn", "nomn"]),
        ("endpoint", "mn"),
        ("schema_version", 2),
        ("name", "../up"),
        ("created", "2026-01-01T00:00:00"),
        ("thresold", 0.5),
        ("sensitivity", {"data": "x", "right": 3, "total": 2}),
        ("normalisation", {"mean": [0, 0, 0], "std": [1, 1, 0]}),
    ],
)
def test_card_that_breaks_the_schema_is_refused_by_field(damaged: Path, field: str, value: object) -> None:
    card = json.loads((damaged / CARD_FILE).read_text())
    card[field] = value
    (damaged / CARD_FILE).write_text(json.dumps(card))
    with pytest.raises(ModelError, match=field):
        verify_model(damaged)


def _replace_weights(directory: Path, content: bytes) -> None:
    card = json.loads((directory / CARD_FILE).read_text())
    card["weights_sha256"] = sha256(content).hexdigest()
    (directory / CARD_FILE).write_text(json.dumps(card))
    (directory / WEIGHTS_FILE).write_bytes(content)


def test_pickle_is_never_opened(damaged: Path, tmp_path: Path) -> None:
    proof = tmp_path / "code-ran"

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (proof,)

    _replace_weights(damaged, pickle.dumps(Bomb()))
    with pytest.raises(ModelError, match="do not fit"):
        load_model(damaged)
    assert not proof.exists()


def test_weights_of_another_architecture_are_refused(damaged: Path) -> None:
    from safetensors.torch import save

    _replace_weights(damaged, save({"features.0.weight": torch.zeros(3)}))
    with pytest.raises(ModelError, match="do not fit"):
        load_model(damaged)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    network = random_network()
    with torch.no_grad():
        network.classifier.bias[0] = float("nan")
    with pytest.raises(ModelError, match=r"not finite.*classifier\.bias"):
        write_model_directory(tmp_path / "model", network, card_fields())
    assert list(tmp_path.iterdir()) == []


def test_unknown_architecture_is_named(damaged: Path) -> None:
    card = json.loads((damaged / CARD_FILE).read_text())
    card["architecture"] = "alexnet-9"
    (damaged / CARD_FILE).write_text(json.dumps(card))
    with pytest.raises(ModelError, match="alexnet-9"):
        load_model(damaged)


def test_writing_again_replaces_the_model(tmp_path: Path, network: AttentionAlexNet) -> None:
    path = tmp_path / "model"
    write_model_directory(path, network, card_fields(version="1"))
    write_model_directory(path, network, card_fields(version="2"))
    assert load_model(path).card.version == "2"
    assert list(tmp_path.iterdir()) == [path]


def test_writing_over_something_else_is_refused(tmp_path: Path, network: AttentionAlexNet) -> None:
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "1.png").write_bytes(b"x")
    with pytest.raises(StorageError, match=r"1\.png"):
        write_model_directory(tmp_path / "cells", network, card_fields())
    assert (tmp_path / "cells" / "1.png").read_bytes() == b"x"


def test_card_with_a_missing_field_is_not_written(tmp_path: Path, network: AttentionAlexNet) -> None:
    fields = card_fields()
    del fields["limitations"]
    with pytest.raises(ModelError, match="limitations"):
        write_model_directory(tmp_path / "model", network, fields)
    assert list(tmp_path.iterdir()) == []


def test_network_in_channels_last_is_written_as_its_values(tmp_path: Path) -> None:
    network = random_network().to(memory_format=torch.channels_last)
    write_model_directory(tmp_path / "model", network, card_fields())
    loaded = load_model(tmp_path / "model").network.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in network.state_dict().items())


def test_verification_needs_no_torch(model_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from mnbatch.inference.catalogue import ModelSet;"
        f"print(ModelSet.open(Path({str(model_path)!r})).digest); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == verify_model(model_path).digest
