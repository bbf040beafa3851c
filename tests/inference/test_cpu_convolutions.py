"""The faster convolutions of a processor: the same sums, and no cell that depends on another."""

import copy

import pytest
import torch
from torch import nn

from mnbatch.inference.cpu_convolutions import (
    ALL,
    BY_PROCESSOR,
    GreyFirstConvolution,
    faster_here,
    takes_grey,
    with_faster_convolutions,
)
from mnbatch.inference.cpu_engine import CpuEngine
from mnbatch.inference.winograd import WinogradConvolution
from mnbatch.networks import ARCHITECTURES


def cells(count, channels, side, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, side, side, generator=generator)


def grey_cells(count, side, seed=0):
    return cells(count, 1, side, seed).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def close(found, wanted):
    return bool((found - wanted).abs().max() <= 1e-5 * wanted.abs().max())


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(11, 4, 2), (7, 2, 3), (3, 2, 1), (8, 4, 0), (5, 3, 1)])
@pytest.mark.parametrize("side", [64, 97, 224])
@torch.inference_mode()
def test_a_first_layer_on_grey_cells_is_the_same_sum(kernel, stride, padding, side):
    torch.manual_seed(1)
    usual = nn.Conv2d(3, 24, kernel, stride, padding).eval()
    x = grey_cells(4, side)
    found = GreyFirstConvolution(usual)(x)
    assert found.shape == usual(x).shape
    assert close(found, usual(x))


@torch.inference_mode()
def test_a_cell_with_colour_goes_through_the_layer_itself_and_changes_no_grey_one():
    torch.manual_seed(1)
    usual = nn.Conv2d(3, 24, 11, 4, 2).eval()
    faster = GreyFirstConvolution(usual)
    grey, mixed = grey_cells(6, 96), grey_cells(6, 96)
    mixed[2, 1, 5, 5] += 1
    found = faster(mixed)
    assert torch.equal(found[2], usual(mixed)[2])
    assert all(torch.equal(found[i], faster(grey)[i]) for i in (0, 1, 3, 4, 5))
    coloured = cells(6, 3, 96)
    assert torch.equal(faster(coloured), usual(coloured))


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
@torch.inference_mode()
def test_every_network_says_the_same(name):
    torch.manual_seed(2)
    network = ARCHITECTURES[name]().eval().requires_grad_(False).to(memory_format=torch.channels_last)
    faster = with_faster_convolutions(copy.deepcopy(network))
    for x in (grey_cells(2, 224), cells(2, 3, 224)):
        assert torch.allclose(faster(x), network(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("asked", "first", "others"),
    [
        (ALL, "GreyFirstConvolution", "WinogradConvolution"),
        ((WinogradConvolution,), "Conv2d", "WinogradConvolution"),
        ((GreyFirstConvolution,), "GreyFirstConvolution", "Conv2d"),
        ((), "Conv2d", "Conv2d"),
    ],
)
def test_which_layers_are_replaced(asked, first, others):
    network = with_faster_convolutions(ARCHITECTURES["attention-alexnet"]().eval(), asked)
    kinds = [type(layer).__name__ for layer in network.features if hasattr(layer, "weight")]
    assert kinds == [first, others, others, others, others]
    assert takes_grey(network) == (first == "GreyFirstConvolution")


@pytest.mark.parametrize(
    ("usual", "replaced"),
    [
        (nn.Conv2d(96, 96, 3), True),
        (nn.Conv2d(64, 96, 3), False),
        (nn.Conv2d(96, 64, 3), False),
        (nn.Conv2d(32, 32, 5), True),
        (nn.Conv2d(16, 32, 5), False),
        (nn.Conv2d(96, 96, 1), False),
        (nn.Conv2d(96, 96, 7), False),
        (nn.Conv2d(96, 96, (3, 5)), False),
        (nn.Conv2d(96, 96, 3, stride=2), False),
        (nn.Conv2d(96, 96, 3, dilation=2), False),
        (nn.Conv2d(96, 96, 3, groups=96), False),
        (nn.Conv2d(96, 96, 3, padding="same"), False),
        (nn.Conv2d(96, 96, 3, padding=1, padding_mode="reflect"), False),
    ],
)
def test_a_convolution_is_replaced_where_it_fits_and_has_channels_enough(usual, replaced):
    layer = with_faster_convolutions(nn.Sequential(usual))[0]
    assert isinstance(layer, WinogradConvolution) == replaced


@pytest.mark.parametrize("processor", [*BY_PROCESSOR, "DEFAULT"])
def test_a_processor_gets_what_was_measured_on_its_kind(monkeypatch, processor):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: processor)
    assert faster_here() == BY_PROCESSOR.get(processor, ())


@torch.inference_mode()
def test_a_score_depends_on_neither_company_nor_place():
    torch.manual_seed(3)
    network = with_faster_convolutions(
        ARCHITECTURES["attention-alexnet"]().eval().requires_grad_(False).to(memory_format=torch.channels_last)
    )
    one, other = grey_cells(8, 128, seed=4), grey_cells(8, 128, seed=5)
    alone = network(one)
    assert torch.equal(network(torch.cat([other[:3], one[:5]]))[3:], alone[:5])
    assert torch.equal(network(one.roll(3, 0)).roll(-3, 0), alone)


@torch.inference_mode()
def test_three_channels_in_the_same_memory_are_a_grey_cell():
    torch.manual_seed(1)
    faster = GreyFirstConvolution(nn.Conv2d(3, 24, 11, 4, 2).eval())
    grey = cells(4, 1, 96)
    assert torch.equal(faster(grey.expand(-1, 3, -1, -1)), faster(grey_cells(4, 96)))


@pytest.mark.parametrize("faster", [False, True])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_engine_takes_them_in_float32_where_they_are_faster(monkeypatch, model, faster, precision):
    monkeypatch.setattr("mnbatch.inference.cpu_engine.faster_here", lambda: ALL if faster else ())
    engine = CpuEngine(model, convolutions=precision)
    engine.close()
    taken = any(isinstance(part, WinogradConvolution) for part in engine._network.modules())
    assert taken == (faster and precision == torch.float32)
    assert not any(isinstance(part, WinogradConvolution) for part in model.network.modules())
