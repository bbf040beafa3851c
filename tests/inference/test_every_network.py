"""Every architecture serves: a score of its own in any company, exact evidence where there is any, no map elsewhere."""

import numpy as np
import pytest
import torch
from torch import nn

from mnbatch.inference.card import ModelCard
from mnbatch.inference.classifier import Classifier
from mnbatch.inference.device_engine import DeviceEngine
from mnbatch.inference.model_directory import LoadedModel
from mnbatch.inference.network_scores import Scores
from mnbatch.networks import ARCHITECTURES
from tests.inference.inference_helpers import card_fields, crops

LARGE = {"vgg16", "vgg16-att", "resnet50", "resnet50-att"}
DENSE = {"alexnet", "vgg16"}
HOT = 1000.0
"""Temperature: margins of random weights go into the thousands, where 1 - p has no digits left."""
NAMES = [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in ARCHITECTURES]


def model_of(name: str, tmp_path) -> LoadedModel:
    """Random weights that keep activations alive."""
    generator = torch.Generator().manual_seed(5)
    network = ARCHITECTURES[name]()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                nn.init.kaiming_normal_(parameter, generator=generator)
    for label, buffer in network.named_buffers():
        if label.endswith("running_mean"):
            buffer.copy_(0.1 * torch.randn(buffer.shape, generator=generator))
    filled = {"weights_sha256": "0" * 64, "created": "2026-01-01T00:00:00Z", "software": {}}
    card = ModelCard.model_validate({**card_fields(architecture=name, temperature=HOT), **filled})
    return LoadedModel(tmp_path, card, "0" * 64, network.eval())


def same(one: Scores, i: int, other: Scores, j: int) -> bool:
    return one.p_mn[i] == other.p_mn[j] and one.maps[i].tobytes() == other.maps[j].tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_score_is_the_cells_own_and_its_evidence_adds_up(name, tmp_path):
    """The default minibatch of 16: reversed, beside strangers, and alone in a padded minibatch; bits are compared."""
    model = model_of(name, tmp_path)
    pixels = crops(16)
    with Classifier(model, device="cpu", threads=1) as classifier:
        reference = classifier.score(pixels)
        mixed = np.concatenate([crops(11, seed=99), pixels[:5][::-1]])
        strange = classifier.score(mixed)
        alone = classifier.score(pixels[7:8])
        assert classifier.maps == expected_maps(name)
    assert all(same(strange, 15 - i, reference, i) for i in range(5))
    assert same(alone, 0, reference, 7)
    assert len(set(reference.p_mn.tolist())) > 8, "equal scores would prove nothing"
    there = [not np.isnan(reference.maps[:, i]).any() for i in range(3)]
    assert there == [kind in expected_maps(name) for kind in ("attention5", "attention6", "evidence")]
    assert np.isnan(reference.maps).sum() == there.count(False) * 16 * 13 * 13
    if name not in DENSE:
        bias = model.network.classifier.bias
        margin = reference.maps[:, 2].sum(axis=(1, 2), dtype=np.float64) + (bias[1] - bias[0]).item()
        told = HOT * np.log(reference.p_mn / (1 - reference.p_mn))
        assert np.allclose(told, margin, rtol=1e-4, atol=2e-3)


def expected_maps(name: str) -> tuple[str, ...]:
    if name.startswith("attention-alexnet"):
        return ("attention5", "attention6", "evidence")
    return () if name in DENSE else ("evidence",)


@pytest.mark.parametrize("name", ["alexnet", "resnet18"])
def test_the_gpus_engine_computes_other_networks_in_float32(name, tmp_path):
    model = model_of(name, tmp_path)
    pixels = crops(3)
    engine = DeviceEngine(model, torch.device("cpu"), minibatch=4, threads=1)
    scores = engine.submit(list(pixels)).result()
    engine.close()
    assert engine.precision == "fp32"
    with Classifier(model, device="cpu", minibatch=4, threads=1) as classifier:
        reference = classifier.score(pixels)
    assert np.allclose(scores.p_mn, reference.p_mn, atol=1e-6)
    assert np.array_equal(np.isnan(scores.maps), np.isnan(reference.maps))
