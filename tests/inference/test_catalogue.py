"""Names, paths and sets of models; the model for a stain is that one or none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mnbatch.errors import ModelError, SlideError
from mnbatch.imaging.preparation import Preparation
from mnbatch.inference import catalogue
from mnbatch.inference.catalogue import ModelSet, list_models, resolve_model
from mnbatch.inference.model_directory import write_model_directory
from mnbatch.networks.attention_alexnet import AttentionAlexNet
from tests.inference.inference_helpers import card_fields


@pytest.fixture
def pair(tmp_path: Path, network: AttentionAlexNet) -> Path:
    """A set of two models, one a stain."""
    for stain in ("fluorescence", "giemsa"):
        write_model_directory(tmp_path / "pair" / stain, network, card_fields(name=stain, stains=(stain,)))
    return tmp_path / "pair"


def test_each_look_gets_its_own_model(pair: Path) -> None:
    models = ModelSet.open(pair)
    assert models.for_stain("fluorescence").card.name == "fluorescence"
    assert models.for_stain("giemsa").card.name == "giemsa"
    assert models.digest_for("giemsa") != models.digest_for("fluorescence")
    assert models.digest not in {models.digest_for("giemsa"), models.digest_for("fluorescence")}
    assert models.load("giemsa").digest == models.digest_for("giemsa")


def test_look_that_no_model_serves_fails_the_slide_with_the_reason(model_path: Path) -> None:
    models = ModelSet.open(model_path)
    with pytest.raises(SlideError, match=r"looks like giemsa.*it is for fluorescence") as caught:
        models.for_stain("giemsa")
    assert "--stain" in caught.value.next_step
    with pytest.raises(SlideError, match="not recognised"):
        models.for_stain("unknown")


def test_digest_of_a_single_model_is_its_own(model_path: Path) -> None:
    models = ModelSet.open(model_path)
    assert models.digest == models.members[0].digest == models.digest_for("fluorescence")


def test_two_models_for_one_stain_are_refused(pair: Path, network: AttentionAlexNet) -> None:
    write_model_directory(pair / "third", network, card_fields(stains=("giemsa",)))
    with pytest.raises(ModelError, match="giemsa and third"):
        ModelSet.open(pair)


def test_models_that_prepare_crops_differently_are_refused(pair: Path, network: AttentionAlexNet) -> None:
    fields = card_fields(stains=("giemsa",), preparation=Preparation(polarity="density"))
    write_model_directory(pair / "giemsa", network, fields)
    with pytest.raises(ModelError, match="prepare crops differently"):
        ModelSet.open(pair)


def test_one_damaged_model_of_a_set_is_an_error(pair: Path) -> None:
    (pair / "giemsa" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        ModelSet.open(pair)


def test_model_that_changes_after_it_was_opened_is_not_loaded(pair: Path) -> None:
    models = ModelSet.open(pair)
    file = pair / "giemsa" / "model.json"
    file.write_text(json.dumps(json.loads(file.read_text())))
    with pytest.raises(ModelError, match="changed while"):
        models.load("giemsa")


def test_bundled_name_comes_before_a_directory_of_that_name(
    pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "models_directory", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)
    assert [path.name for path in list_models()] == ["pair"]
    assert resolve_model("pair") == tmp_path / "pair"
    assert resolve_model("./pair") == Path("pair")
    assert resolve_model(str(pair / "giemsa")) == pair / "giemsa"


@pytest.mark.parametrize("name", ["nothing", "../nothing", ""])
def test_unknown_model_says_what_there_is(pair: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(catalogue, "models_directory", lambda: pair.parent)
    monkeypatch.chdir(pair)
    with pytest.raises(ModelError, match=r"a bundled one \(pair\)"):
        resolve_model(name)


def test_empty_directory_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no model\.json"):
        ModelSet.open(tmp_path)


def test_bundled_default_is_whole_and_serves_a_look() -> None:
    if not (catalogue.models_directory() / catalogue.DEFAULT).is_dir():
        pytest.skip("no bundled model in this checkout yet")
    models = ModelSet.open(catalogue.DEFAULT)
    for stain in models.stains:
        assert stain in models.load(stain).card.stains  # type: ignore[arg-type]
