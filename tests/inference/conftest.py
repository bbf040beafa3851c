"""A model with random weights; none of the tests here needs a good one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode leaves helpers beside the tests out

from mnbatch.inference.classifier import Classifier
from mnbatch.inference.model_directory import LoadedModel, load_model, write_model_directory
from mnbatch.networks.attention_alexnet import AttentionAlexNet
from tests.inference.inference_helpers import card_fields, random_network


@pytest.fixture(scope="session")
def network() -> AttentionAlexNet:
    return random_network()


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory, network: AttentionAlexNet) -> Path:
    """A model directory that no test may change."""
    path = tmp_path_factory.mktemp("models") / "random-weights"
    write_model_directory(path, network, card_fields())
    return path


@pytest.fixture(scope="session")
def model(model_path: Path) -> LoadedModel:
    return load_model(model_path)


@pytest.fixture(scope="module")
def classifier(model: LoadedModel) -> Iterator[Classifier]:
    with Classifier(model, device="cpu", minibatch=5, threads=2) as classifier:
        yield classifier
