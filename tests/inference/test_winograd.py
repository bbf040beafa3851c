"""Convolutions with few multiplications: the sums of the direct ones, and every cell by itself."""

import pytest
import torch
from torch import nn

from mnbatch.inference.winograd import FEWEST_TILES, POINTS, TILE, WIDEST, WinogradConvolution, transforms


def cells(count, channels, height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, height, width, generator=generator)


def layer(*arguments, **options):
    torch.manual_seed(1)
    return nn.Conv2d(*arguments, **options).eval().requires_grad_(False)


@pytest.mark.parametrize("outputs", range(1, TILE + 1))
@pytest.mark.parametrize("taps", range(1, WIDEST + 1))
def test_outputs_of_a_filter_are_found_with_fewer_products(outputs, taps):
    data, filters, results = transforms(outputs, taps)
    generator = torch.Generator().manual_seed(2)
    seen = torch.randn(outputs + taps - 1, generator=generator, dtype=torch.float64)
    kernel = torch.randn(taps, generator=generator, dtype=torch.float64)
    found = results @ ((filters @ kernel) * (data @ seen))
    assert len(data) == outputs + taps - 1
    assert torch.allclose(found, seen.unfold(0, taps, 1) @ kernel, atol=1e-12)


def test_more_points_than_there_are_is_refused():
    with pytest.raises(ValueError, match=f"of {len(POINTS)}"):
        transforms(TILE, WIDEST + 1)


@pytest.mark.parametrize("kernel", range(1, WIDEST + 1))
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize(("height", "width"), [(23, 23), (47, 47), (24, 24), (13, 30), (12, 17), (16, 15)])
@torch.inference_mode()
def test_the_sums_are_those_of_the_direct_convolution(kernel, padding, height, width):
    usual = layer(40, 24, kernel, padding=padding)
    x = cells(3, 40, height, width).to(memory_format=torch.channels_last)
    exact = nn.functional.conv2d(x.double(), usual.weight.double(), usual.bias.double(), padding=padding)
    found = WinogradConvolution(usual)(x)
    assert found.shape == exact.shape
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert float((found - exact).abs().max()) <= 2e-5 * float(exact.abs().max())


@torch.inference_mode()
def test_padding_may_differ_by_side_and_a_bias_may_be_missing():
    usual = layer(32, 32, 3, padding=(0, 2), bias=False)
    x = cells(2, 32, 20, 27)
    assert torch.allclose(WinogradConvolution(usual)(x), usual(x), atol=1e-4)


@torch.inference_mode()
def test_a_small_picture_goes_through_the_layer_itself():
    usual = layer(32, 32, 3, padding=1)
    fast = WinogradConvolution(usual)
    small, large = cells(2, 32, 8, 8), cells(2, 32, 9, 9)
    assert (8 // TILE) ** 2 < FEWEST_TILES <= (-(-9 // TILE)) ** 2
    assert torch.equal(fast(small), usual(small))
    assert not torch.equal(fast(large), usual(large))
    assert torch.allclose(fast(large), usual(large), atol=1e-4)


@torch.inference_mode()
def test_a_cell_depends_on_neither_company_nor_place_nor_the_cell_before_it():
    fast = WinogradConvolution(layer(64, 96, 5, padding=2))
    x = cells(6, 64, 30, 30).to(memory_format=torch.channels_last)
    alone = torch.cat([fast(x[place : place + 1].contiguous()) for place in range(len(x))])
    assert torch.equal(fast(x), alone)
    assert torch.equal(fast(x.roll(2, 0)).roll(-2, 0), alone)
    broken = x.clone()
    broken[2] = float("nan")
    assert torch.equal(fast(broken)[[0, 1, 3, 4, 5]], alone[[0, 1, 3, 4, 5]])


@torch.inference_mode()
def test_cells_in_any_order_of_memory_are_taken():
    fast = WinogradConvolution(layer(32, 32, 3, padding=1))
    x = cells(2, 32, 14, 14)
    assert torch.equal(fast(x.contiguous()), fast(x.to(memory_format=torch.channels_last)))


def test_the_weights_of_the_layer_stay():
    usual = layer(32, 48, 3)
    before = usual.weight.clone()
    fast = WinogradConvolution(usual)
    assert fast.direct is usual
    assert torch.equal(usual.weight, before)
    assert fast.weight.dtype == torch.float32
