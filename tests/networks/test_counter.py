"""A counter beside the two logits: what it adds, and that it changes nothing else, to the last bit."""

import pytest
import torch

from mnbatch.networks import ARCHITECTURES
from mnbatch.networks.attention_alexnet import AttentionAlexNet
from mnbatch.networks.network import StreamNetwork


def inputs(count: int = 3) -> torch.Tensor:
    return torch.randn(count, 3, 224, 224, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def network() -> AttentionAlexNet:
    torch.manual_seed(3)
    return AttentionAlexNet().eval()


def test_a_counter_changes_no_logit_and_no_map_by_a_single_bit(network):
    with torch.inference_mode():
        x = inputs()
        before = network.explain(x)
        torch.manual_seed(4)
        network.add_counter()
        after = network.explain(x)
        assert before.ratios is None
        assert after.ratios is not None
        assert after.ratios.shape == (3, 2)
        for name in ("logits", "attention5", "attention6", "evidence", "bias"):
            assert torch.equal(getattr(before, name), getattr(after, name)), name
        assert torch.equal(network(x), before.logits)


def test_every_way_through_the_network_gives_the_same_ratios(network):
    network.add_counter()
    with torch.inference_mode():
        x = inputs()
        explained, maps = network.explain(x), network.maps(x)
        logits, ratios = network.forward_ratios(x)
        assert torch.equal(ratios, explained.ratios)
        assert torch.equal(ratios, maps.ratios)
        assert torch.equal(logits, explained.logits)
        vector = network.pooled(network.forward_streams(x).features)
        torch.testing.assert_close(ratios, network.counter(vector))


def test_without_a_counter_the_state_has_no_trace_of_one():
    plain, counting = AttentionAlexNet(), AttentionAlexNet()
    counting.add_counter()
    assert set(counting.state_dict()) - set(plain.state_dict()) == {"counter.weight", "counter.bias"}
    assert plain.forward_ratios(inputs(1))[1] is None


@pytest.mark.parametrize("name", ["alex-ca", "msa-net", "googlenet-att"])
def test_other_networks_of_streams_count_too(name):
    torch.manual_seed(2)
    network = ARCHITECTURES[name]().eval()
    assert isinstance(network, StreamNetwork)
    network.add_counter()
    with torch.inference_mode():
        logits, ratios = network.forward_ratios(inputs(2))
        assert torch.equal(logits, network(inputs(2)))
        assert torch.equal(ratios, network.maps(inputs(2)).ratios)
