"""The network's shapes, its exact evidence map, and where its positions lie in the input."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mnbatch.networks import ARCHITECTURES
from mnbatch.networks.attention_alexnet import GRID, INPUT_SIZE, AttentionAlexNet, spread_in_order


@pytest.fixture(scope="module")
def network() -> AttentionAlexNet:
    """Random weights of a trained network's size: the classifier far from zero, biases that matter."""
    generator = torch.Generator().manual_seed(7)
    network = AttentionAlexNet().eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.dim() > 1:
                nn.init.kaiming_normal_(parameter, generator=generator)
            else:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
            if name == "classifier.weight":
                parameter.mul_(5.0)
    return network.requires_grad_(False)


def _inputs(count: int = 3) -> Tensor:
    return torch.randn(count, 3, INPUT_SIZE, INPUT_SIZE, generator=torch.Generator().manual_seed(1))


def test_every_architecture_has_its_name() -> None:
    assert isinstance(ARCHITECTURES["attention-alexnet"](), AttentionAlexNet)


def test_features_have_the_shapes_of_the_paper(network: AttentionAlexNet) -> None:
    layer5, layer6, last = network.forward_features(_inputs(2))
    assert layer5.shape == (2, 384, 13, 13)
    assert layer6.shape == (2, 256, 13, 13)
    assert last.shape == (2, 256, 6, 6)


def test_taps_are_taken_after_relu_and_not_overwritten_later(network: AttentionAlexNet) -> None:
    inputs = _inputs(2)
    layer5, layer6, _ = network.forward_features(inputs)
    convolution4, relu = network.features[8], nn.functional.relu
    assert torch.equal(layer5, relu(layer5))
    assert torch.allclose(layer6, relu(convolution4(layer5)), atol=1e-5)


def test_network_has_about_2_8_million_parameters(network: AttentionAlexNet) -> None:
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(2.8e6, rel=0.02)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_evidence_and_bias_add_up_to_the_margin(
    network: AttentionAlexNet, dtype: torch.dtype, tolerance: float, layout: torch.memory_format
) -> None:
    twin = AttentionAlexNet().eval()
    twin.load_state_dict(network.state_dict())
    twin.to(dtype=dtype, memory_format=layout).requires_grad_(False)  # type: ignore[call-overload]
    explained = twin.explain(_inputs().to(dtype).contiguous(memory_format=layout))
    margin = explained.logits[:, 1] - explained.logits[:, 0]
    total = explained.evidence.sum(dim=(1, 2)) + explained.bias
    assert margin.abs().max() > 0.5, "a margin near zero would prove nothing"
    assert margin.std() > 0.01
    assert torch.allclose(total, margin, rtol=tolerance, atol=tolerance)


def test_explain_and_forward_give_the_same_logits(network: AttentionAlexNet) -> None:
    inputs = _inputs()
    assert torch.equal(network(inputs), network.explain(inputs).logits)


def test_attention_maps_are_fractions_and_differ_by_position(network: AttentionAlexNet) -> None:
    explained = network.explain(_inputs())
    for attention in (explained.attention5, explained.attention6):
        assert attention.shape == (3, GRID, GRID)
        assert attention.min() >= 0
        assert attention.max() <= 1
        assert attention.std() > 1e-4


def _receptive_field_centre(tap: int, position: int) -> tuple[float, float]:
    """Centre of all input pixels that a position depends on, by the gradient of a network that stops nothing

    All weights one and no biases: a ReLU never closes; max pooling is replaced by averaging, which reads the
    same pixels. The input is larger than in use, so that the border cuts no field; the centres do not change.
    """
    network = AttentionAlexNet().double()
    with torch.no_grad():
        for parameter in network.features.parameters():
            parameter.fill_(1e-3 if parameter.dim() > 1 else 0.0)
    for index in (2, 5, 12):
        network.features[index] = nn.AvgPool2d(kernel_size=3, stride=2)
    inputs = torch.ones(1, 3, 480, 480, dtype=torch.float64, requires_grad=True)
    network.forward_features(inputs)[tap][0, 0, position, position].backward()
    assert inputs.grad is not None
    rows = torch.nonzero(inputs.grad[0, 0].sum(dim=1)).flatten()
    columns = torch.nonzero(inputs.grad[0, 0].sum(dim=0)).flatten()
    return (float(rows[0] + rows[-1]) / 2, float(columns[0] + columns[-1]) / 2)


@pytest.mark.parametrize("tap", [0, 1])
def test_position_i_of_the_fine_grid_is_centred_at_15_plus_16_i(tap: int) -> None:
    for position in (7, 12):
        centre = 15.0 + 16 * position
        assert _receptive_field_centre(tap, position) == (centre, centre)


def test_position_j_of_the_coarse_grid_is_centred_at_31_plus_32_j() -> None:
    for position in (4, 6):
        centre = 31.0 + 32 * position
        assert _receptive_field_centre(2, position) == (centre, centre)


def test_evidence_of_the_last_stream_lies_where_its_maxima_were_taken(network: AttentionAlexNet) -> None:
    twin = AttentionAlexNet().eval()
    twin.load_state_dict(network.state_dict())
    with torch.no_grad():
        twin.classifier.weight[:, : 384 + 256] = 0
    inputs = _inputs(1)
    with torch.no_grad():
        evidence = twin.explain(inputs).evidence[0]
        layer7 = twin.convolutions(inputs)[2][0]
    weight = (twin.classifier.weight[1] - twin.classifier.weight[0])[384 + 256 :].detach()
    expected = torch.zeros(GRID, GRID)
    for channel in range(256):
        for j in range(6):
            for k in range(6):
                window = layer7[channel, 2 * j : 2 * j + 3, 2 * k : 2 * k + 3]
                row, column = divmod(int(window.argmax()), 3)
                expected[2 * j + row, 2 * k + column] += weight[channel] * window.max() / 36
    assert expected.abs().max() > 0
    assert torch.allclose(evidence, expected, atol=1e-5)


@pytest.mark.parametrize("side", [13, 23, 24])
def test_shares_spread_in_order_are_those_added_at_once(side: int) -> None:
    # What a GPU does, where the order of a scattered sum is anybody's.
    generator = torch.Generator().manual_seed(side)
    layer = torch.randn((3, 8, side, side), generator=generator)
    last, taken = torch.nn.functional.max_pool2d(layer, kernel_size=3, stride=2, return_indices=True)
    at_once = torch.zeros((3, side * side)).scatter_add(1, taken.flatten(1), last.flatten(1))
    assert torch.allclose(spread_in_order(last, taken, side * side).sum(dim=1), at_once, atol=1e-5)
    windows = [taken[:, :, row::2, column::2].flatten(2) for row in (0, 1) for column in (0, 1)]
    assert all(len(set(one.tolist())) == len(one) for group in windows for cell in group for one in cell)
