"""VGG-16 with its dense layers cut and the attention modules added ("VGG-Att")."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from mnbatch.networks.attention_modules import AttendedNetwork, AttentionFactory, AttentionModule, run_to
from mnbatch.networks.network import Stream


class Vgg16Att(AttendedNetwork):
    """Attended are the last convolutions at 28 x 28 and at 14 x 14; pool5 (7 x 7) is the last feature.

    The paper does not say which layers: the last two stages of distinct resolution before the last feature.
    """

    pretrained: ClassVar[str | None] = "vgg16"

    def __init__(self, attention: AttentionFactory = AttentionModule) -> None:
        from torchvision.models import vgg16

        streams = (
            Stream("conv4_3", 512, 28, 3.5, 8),
            Stream("conv5_3", 512, 14, 7.5, 16),
            Stream("pool5", 512, 7, 15.5, 32),
        )
        super().__init__(streams, attention)
        self.features = vgg16(weights=None).features

    def forward_features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """-> conv4_3 (B, 512, 28, 28), conv5_3 (B, 512, 14, 14), both after ReLU, pool5 (B, 512, 7, 7)."""
        conv4_3, conv5_3, pool5 = run_to(self.features, x, (22, 29, 30))
        return conv4_3, conv5_3, pool5
