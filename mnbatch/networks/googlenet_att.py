"""GoogLeNet with its dense layer cut and the attention modules added ("GoogLeNet-Att")."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from mnbatch.networks.attention_modules import AttendedNetwork, AttentionFactory, AttentionModule
from mnbatch.networks.googlenet import DEVIATION, MEAN, STREAMS, googlenet_backbone, googlenet_features


class GoogLeNetAtt(AttendedNetwork):
    """Attended are inception3b (28 x 28) and inception4e (14 x 14); inception5b (7 x 7) is the last feature.

    The paper does not say which layers: the last two stages of distinct resolution before the last feature.
    No auxiliary heads, as in `GoogLeNet`.
    """

    pretrained: ClassVar[str | None] = "googlenet"
    backbone_in: ClassVar[str] = "backbone."
    alike_mean: ClassVar[tuple[float, float, float]] = MEAN
    alike_std: ClassVar[tuple[float, float, float]] = DEVIATION

    def __init__(self, attention: AttentionFactory = AttentionModule) -> None:
        super().__init__(STREAMS, attention)
        self.backbone = googlenet_backbone()

    def forward_features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """-> inception3b (B, 480, 28, 28), inception4e (B, 832, 14, 14), inception5b (B, 1024, 7, 7)."""
        return googlenet_features(self.backbone, x)
