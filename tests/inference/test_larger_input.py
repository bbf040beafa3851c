"""A model of 256 pixels that sees colour, through a whole run: scores, maps of 15 x 15, and a page that shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mnbatch.imaging.preparation import Preparation, network_input, prepare_crop
from mnbatch.inference.classifier import Classifier
from mnbatch.inference.model_directory import load_model, write_model_directory
from mnbatch.results.store import Store
from mnbatch.simulate.simulated_export import simulate_export
from tests.in_process import mnbatch
from tests.inference.inference_helpers import card_fields, random_network

COLOURED = {"size": 256, "polarity": "stains"}


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("coloured") / "model"
    write_model_directory(path, random_network(), card_fields(preparation=COLOURED, stains=("giemsa",)))
    return path


def test_scores_and_maps_are_those_of_the_network_on_its_own_input(coloured: Path) -> None:
    model = load_model(coloured)
    rng = np.random.default_rng(2)
    prepared = Preparation.model_validate(COLOURED)
    crops = np.stack([prepare_crop(rng.integers(120, 255, (90, 90, 3), np.uint8), prepared) for _ in range(3)])
    with Classifier(model, device="cpu", minibatch=2, threads=1) as classifier:
        scores = classifier.score(crops)
        assert classifier.score(crops[:0]).maps.shape == (0, 3, 15, 15)
    assert scores.maps.shape == (3, 3, 15, 15)
    assert network_input(crops[0], prepared).shape == (256, 256, 3)
    bias = float(model.network.classifier.bias.detach().diff())
    margins = (scores.maps[:, 2].sum(axis=(1, 2)) + bias) / model.card.temperature
    assert 1 / (1 + np.exp(-margins)) == pytest.approx(scores.p_mn, abs=1e-5)


def test_a_run_keeps_and_shows_maps_of_the_models_own_grid(coloured: Path, tmp_path: Path) -> None:
    simulate_export(tmp_path / "sim", donors=1, slides=1, cells=4, stain="giemsa", size=96)
    out = tmp_path / "out"
    done = mnbatch("run", tmp_path / "sim" / "export", "--out", out, "--model", coloured, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    store = Store(out)
    (record,) = store.records()
    crops = store.crops(record)
    assert crops is not None
    assert crops.side == 15
    maps = crops.cell_maps(0)
    assert maps is not None
    assert maps.shape == (3, 15, 15)
    gallery = next(out.glob("slides/*/gallery/data.js")).read_text(encoding="utf-8")
    assert '"side":15' in gallery.replace(" ", "")
    page = next(out.glob("slides/*/index.html")).read_text(encoding="utf-8")
    assert 'x="6.125"' in page
