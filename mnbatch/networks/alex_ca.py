"""Alex-CA: attention-AlexNet with CBAM's channel attention in place of its two attention modules."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from mnbatch.networks.alexnet_layers import alexnet_features
from mnbatch.networks.attention_modules import AttendedNetwork, AttentionFactory, ChannelAttention, run_to
from mnbatch.networks.network import Stream


class AlexCA(AttendedNetwork):
    """Streams as in attention-AlexNet: layer 5, layer 6 and the last.

    Channel attention has no map of positions, so `maps` gives evidence only. The paper says that the network
    equals its own "with the attention module replaced"; the last feature stays unattended here, as it is
    there.
    """

    pretrained: ClassVar[str | None] = "alexnet"

    def __init__(self, attention: AttentionFactory = ChannelAttention) -> None:
        streams = (
            Stream("conv3", 384, 13, 15, 16),
            Stream("conv4", 256, 13, 15, 16),
            Stream("pool5", 256, 6, 31, 32),
        )
        super().__init__(streams, attention)
        self.features = alexnet_features()

    def forward_features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """-> conv3 (B, 384, 13, 13), conv4 (B, 256, 13, 13), both after ReLU, pool5 (B, 256, 6, 6)."""
        conv3, conv4, pool5 = run_to(self.features, x, (7, 9, 12))
        return conv3, conv4, pool5
