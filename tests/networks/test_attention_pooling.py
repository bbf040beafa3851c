"""Poolings that keep a small signal: what they compute, and that the evidence stays exact at any size of the input."""

import pytest
import torch

from mnbatch.networks import ARCHITECTURES
from mnbatch.networks.attention_alexnet import AttentionAlexNet
from mnbatch.networks.attention_alexnet_pooling import AttentionLogMeanExpAlexNet, AttentionNormalisedAlexNet

pytestmark = pytest.mark.usefixtures("one_thread")
VARIANTS = ["attention-alexnet", "attention-alexnet-normalised", "attention-alexnet-lme"]


def made(name: str) -> AttentionAlexNet:
    torch.manual_seed(3)
    network = ARCHITECTURES[name]().eval().requires_grad_(False)
    assert isinstance(network, AttentionAlexNet)
    network.classifier.weight *= 40  # random weights hardly tell positions apart
    return network


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize(("size", "side"), [(224, 13), (256, 15)])
def test_evidence_and_bias_add_up_to_the_margin_on_the_grid_of_the_input(name: str, size: int, side: int) -> None:
    network = made(name).double()
    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    found = network.explain(x)
    margin = found.logits[:, 1] - found.logits[:, 0]
    assert found.evidence.shape == found.attention5.shape == (2, side, side)
    assert torch.allclose(found.evidence.sum(dim=(1, 2)) + found.bias, margin, atol=1e-10)
    assert torch.allclose(network(x), found.logits, atol=1e-12)
    general = network.maps(x)
    assert torch.allclose(network.evidence_map(general).sum(dim=(1, 2)) + general.bias, margin, atol=1e-10)


def test_normalised_streams_are_averages_weighted_by_attention() -> None:
    network = made(VARIANTS[1])
    features = network.forward_features(torch.randn(1, 3, 224, 224))
    attended5, _, map5, _ = network._streams(*features)
    wanted = (features[0] * map5).sum(dim=(2, 3)) / map5.sum(dim=(2, 3))
    assert torch.allclose(attended5.mean(dim=(2, 3)), wanted, rtol=1e-4, atol=1e-6)
    plain = AttentionAlexNet()
    plain.load_state_dict(network.state_dict())
    assert not torch.allclose(plain(torch.ones(1, 3, 224, 224)), network(torch.ones(1, 3, 224, 224)))


def test_log_mean_exp_lies_between_the_mean_and_the_largest_position() -> None:
    network, plain = made(VARIANTS[2]), AttentionAlexNet().eval()
    plain.load_state_dict(network.state_dict())
    x = torch.randn(3, 3, 224, 224)
    with torch.no_grad():
        mean, sharp = plain.explain(x), network.explain(x)
    margins = [e.logits[:, 1] - e.logits[:, 0] - e.bias for e in (mean, sharp)]
    largest = mean.evidence.flatten(1).amax(dim=1) * 169
    assert (margins[1] > margins[0] + 1e-3).all()
    assert (margins[1] < largest).all()


@pytest.mark.parametrize("kind", [AttentionNormalisedAlexNet, AttentionLogMeanExpAlexNet])
def test_a_cell_scores_alike_at_every_place_of_a_minibatch(kind: type[AttentionAlexNet]) -> None:
    torch.manual_seed(4)
    network = kind().eval().to(memory_format=torch.channels_last)
    x = torch.randn(5, 3, 224, 224).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        forward, backward = network.explain(x), network.explain(x.flip(0))
    assert torch.equal(forward.logits, backward.logits.flip(0))
    assert torch.equal(forward.evidence, backward.evidence.flip(0))
