"""ResNet-18 and ResNet-50 with their dense layer cut and the attention modules added ("ResNet-Att")."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from mnbatch.networks.attention_modules import AttendedNetwork, AttentionFactory, AttentionModule
from mnbatch.networks.resnet import resnet18_backbone, resnet50_backbone, resnet_features, resnet_streams


class ResNet18Att(AttendedNetwork):
    """Attended are layer2 (28 x 28) and layer3 (14 x 14); layer4 (7 x 7) is the last feature.

    The paper does not say which layers: the last two stages of distinct resolution before the last feature.
    It does not state the depth either.
    """

    pretrained: ClassVar[str | None] = "resnet18"
    backbone_in: ClassVar[str] = "backbone."

    def __init__(self, attention: AttentionFactory = AttentionModule) -> None:
        super().__init__(resnet_streams(1), attention)
        self.backbone = resnet18_backbone()

    def forward_features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """-> layer2 (B, 128, 28, 28), layer3 (B, 256, 14, 14), layer4 (B, 512, 7, 7)."""
        return resnet_features(self.backbone, x)


class ResNet50Att(AttendedNetwork):
    """As `ResNet18Att`, deeper and with four times the channels in the attended features."""

    pretrained: ClassVar[str | None] = "resnet50"
    backbone_in: ClassVar[str] = "backbone."

    def __init__(self, attention: AttentionFactory = AttentionModule) -> None:
        super().__init__(resnet_streams(4), attention)
        self.backbone = resnet50_backbone()

    def forward_features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """-> layer2 (B, 512, 28, 28), layer3 (B, 1024, 14, 14), layer4 (B, 2048, 7, 7)."""
        return resnet_features(self.backbone, x)
