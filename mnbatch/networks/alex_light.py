"""Alex-light: AlexNet without dense layers and without attention."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from mnbatch.networks.alexnet_layers import alexnet_features
from mnbatch.networks.network import Stream, Streamed, StreamNetwork


class AlexLight(StreamNetwork):
    """AlexNet's convolutional part, global average pooling, one linear layer.

    The paper says no more than "without dense layers and attention": the last feature alone is classified
    here, pooled as in attention-AlexNet.
    """

    pretrained: ClassVar[str | None] = "alexnet"

    def __init__(self) -> None:
        super().__init__()
        self.streams = (Stream("pool5", 256, 6, 31, 32),)
        self.features = alexnet_features()
        self.classifier = self.linear_layer()  # 256 -> 2

    def forward_streams(self, x: Tensor) -> Streamed:
        """See `StreamNetwork`."""
        return Streamed((self.features(x),), {})  # 256 x 6 x 6
