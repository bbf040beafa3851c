"""Attention modules do what their equations say, and can be exchanged for one another."""

from __future__ import annotations

import pytest
import torch

from mnbatch.networks.alex_ca import AlexCA
from mnbatch.networks.attention_alexnet import AttentionAlexNet
from mnbatch.networks.attention_modules import AttentionModule, ChannelAttention

pytestmark = pytest.mark.usefixtures("one_thread")


def test_channel_attention_weighs_channels_and_not_positions() -> None:
    torch.manual_seed(2)
    module = ChannelAttention(32, 8)
    middle = torch.rand(2, 32, 5, 5) + 0.1
    attended, drawn = module(middle, torch.rand(2, 8, 3, 3))
    weight = attended / middle
    assert drawn is None
    assert torch.allclose(weight, weight[:, :, :1, :1].expand_as(weight), atol=1e-6)
    assert 0 < weight.min() < weight.max() < 1
    assert weight[:, :, 0, 0].std(dim=1).min() > 0


def test_channel_attention_looks_at_mean_and_maximum() -> None:
    torch.manual_seed(2)
    module = ChannelAttention(32, 8, reduction=2)
    flat = torch.full((1, 32, 2, 2), 0.5)
    peaked = torch.zeros(1, 32, 2, 2)
    peaked[..., 0, 0] = 2.0  # the same mean
    weights = [module(x, x)[0].sum(dim=(2, 3)) / x.sum(dim=(2, 3)) for x in (flat, peaked)]
    assert not torch.allclose(*weights)


def test_attention_follows_the_last_feature_and_the_middle_one() -> None:
    torch.manual_seed(2)
    module = AttentionModule(6, 4, hidden=8)
    middle, last = torch.rand(1, 6, 13, 13), torch.rand(1, 4, 6, 6)
    attended, drawn = module(middle, last)
    assert torch.equal(attended, drawn * middle)
    assert not torch.allclose(module(middle, torch.rand(1, 4, 6, 6))[1], drawn)
    assert not torch.allclose(module(torch.rand(1, 6, 13, 13), last)[1], drawn)


def test_a_network_takes_the_kind_of_attention_as_an_argument() -> None:
    with torch.device("meta"):
        assert isinstance(AlexCA(AttentionModule).attention_deep, AttentionModule)
        spatial = sum(p.numel() for p in AlexCA(AttentionModule).parameters())
        assert spatial == sum(p.numel() for p in AttentionAlexNet().parameters())
