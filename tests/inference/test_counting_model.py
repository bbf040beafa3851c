"""A counting model through its directory and its classifier."""

import numpy as np
import pytest
import torch

from mnbatch.errors import ModelError
from mnbatch.inference.catalogue import CARD_FILE
from mnbatch.inference.classifier import Classifier
from mnbatch.inference.device_engine import DeviceEngine
from mnbatch.inference.model_directory import load_model, write_model_directory
from tests.inference.inference_helpers import card_fields, crops, random_network

COUNTING = {
    "mean_3plus": 3.4,
    "prior": (0.7, 0.2, 0.1),
    "training_data": (),
    "recipe": {},
    "checks": (
        {
            "data": "made for this test",
            "n": 4,
            "confusion": ((1, 0, 0, 0), (0, 1, 0, 0), (0, 1, 0, 0), (0, 0, 0, 1)),
            "mean_absolute_error": 0.25,
            "by_one": 0.5,
            "by_mean_count": 0.5,
            "mn_per_cell": 1.25,
            "true_mn_per_cell": 1.5,
        },
    ),
}


def counting_network():
    network = random_network()
    torch.manual_seed(11)
    network.add_counter()
    return network


@pytest.fixture(scope="module")
def counting_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("counting") / "model"
    write_model_directory(path, counting_network(), card_fields(endpoint="mn", counting=COUNTING))
    return path


def test_a_counting_model_says_what_the_yes_no_model_says_and_ratios_beside(counting_path, classifier):
    pixels = crops(11)
    before = classifier.score(pixels)
    with Classifier(load_model(counting_path), device="cpu", minibatch=5, threads=2) as counting:
        after = counting.score(pixels)
    assert np.array_equal(before.p_mn, after.p_mn)
    assert np.array_equal(before.maps, after.maps)
    assert before.ratios is None
    assert after.ratios is not None
    assert after.ratios.shape == (11, 2)
    assert after.ratios.dtype == np.float64
    assert np.unique(after.ratios).size == 22
    assert ((after.ratios > 0) & (after.ratios < 1)).all()


def test_the_ratios_of_a_cell_do_not_depend_on_its_place_or_its_neighbours(counting_path):
    pixels = crops(7)
    with Classifier(load_model(counting_path), device="cpu", minibatch=3, threads=1) as counting:
        together = counting.score(pixels).ratios
        alone = [counting.score(pixels[i : i + 1]).ratios for i in range(7)]
    assert together is not None
    assert np.array_equal(together, np.concatenate(alone))


def test_the_engine_of_a_gpu_gives_the_ratios_of_a_cpu_within_its_tolerance(counting_path):
    model = load_model(counting_path)
    engine = DeviceEngine(model, torch.device("cpu"), minibatch=4, threads=1)
    pixels = crops(6)
    fast = engine.submit(list(pixels)).result().ratios
    engine.close()
    with Classifier(model, device="cpu", minibatch=4, threads=1) as counting:
        slow = counting.score(pixels).ratios
    assert fast is not None
    assert np.abs(fast - slow).max() < 0.02


def test_a_card_that_counts_and_weights_that_do_not_are_refused_and_the_other_way_round(tmp_path):
    with pytest.raises(ModelError, match="do not fit"):
        write_model_directory(tmp_path / "a", random_network(), card_fields(endpoint="mn", counting=COUNTING))
    with pytest.raises(ModelError, match="do not fit"):
        write_model_directory(tmp_path / "b", counting_network(), card_fields())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("changes", [{"endpoint": "mn"}, {"counting": COUNTING}])
def test_endpoint_and_counting_belong_together(tmp_path, changes):
    with pytest.raises(ModelError, match="belong together"):
        write_model_directory(tmp_path / "a", random_network(), card_fields(**changes))


def test_a_network_without_pooled_streams_cannot_be_said_to_count(counting_path, tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    for file in counting_path.iterdir():
        (path / file.name).write_bytes(file.read_bytes())
    card = (path / CARD_FILE).read_text().replace('"attention-alexnet"', '"alexnet"')
    (path / CARD_FILE).write_text(card)
    with pytest.raises(ModelError, match="AlexNet counts"):
        load_model(path)


def test_cards_from_before_there_were_counting_models_stay_valid(model_path, tmp_path):
    import json

    path = tmp_path / "model"
    path.mkdir()
    for file in model_path.iterdir():
        (path / file.name).write_bytes(file.read_bytes())
    card = json.loads((path / CARD_FILE).read_text())
    del card["counting"]
    (path / CARD_FILE).write_text(json.dumps(card))
    assert load_model(path).card.counting is None
