"""ResNet-18 and ResNet-50 (He et al. 2015; torchvision's), with two outputs."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from mnbatch.networks.network import Stream, Streamed, StreamNetwork


def resnet_streams(expansion: int) -> tuple[Stream, Stream, Stream]:
    """Ends of the stages at 28 x 28, 14 x 14 and 7 x 7; `expansion`: 1 for ResNet-18, 4 for ResNet-50."""
    return (
        Stream("layer2", 128 * expansion, 28, 0, 8),
        Stream("layer3", 256 * expansion, 14, 0, 16),
        Stream("layer4", 512 * expansion, 7, 0, 32),
    )


def resnet18_backbone() -> nn.Module:
    """torchvision's ResNet-18 without its linear layer."""
    from torchvision.models import resnet18

    return _headless(resnet18(weights=None))


def resnet50_backbone() -> nn.Module:
    """torchvision's ResNet-50 without its linear layer."""
    from torchvision.models import resnet50

    return _headless(resnet50(weights=None))


def _headless(network: nn.Module) -> nn.Module:
    network.fc = nn.Identity()
    return network


def resnet_features(backbone: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """-> layer2 (B, 128, 28, 28), layer3 (B, 256, 14, 14), layer4 (B, 512, 7, 7).

    ResNet-50 has four times the channels.
    """
    features: dict[str, Tensor] = {}
    for name, layer in backbone.named_children():
        if name == "avgpool":
            break
        x = features[name] = layer(x)
    return features["layer2"], features["layer3"], features["layer4"]


class ResNet18(StreamNetwork):
    """11.2 million parameters."""

    pretrained: ClassVar[str | None] = "resnet18"
    backbone_in: ClassVar[str] = "backbone."

    def __init__(self) -> None:
        super().__init__()
        self.streams = resnet_streams(1)[2:]
        self.backbone = resnet18_backbone()
        self.classifier = self.linear_layer()  # 512 -> 2

    def forward_streams(self, x: Tensor) -> Streamed:
        """See `StreamNetwork`."""
        return Streamed(resnet_features(self.backbone, x)[2:], {})


class ResNet50(StreamNetwork):
    """23.5 million parameters."""

    pretrained: ClassVar[str | None] = "resnet50"
    backbone_in: ClassVar[str] = "backbone."

    def __init__(self) -> None:
        super().__init__()
        self.streams = resnet_streams(4)[2:]
        self.backbone = resnet50_backbone()
        self.classifier = self.linear_layer()  # 2048 -> 2

    def forward_streams(self, x: Tensor) -> Streamed:
        """See `StreamNetwork`."""
        return Streamed(resnet_features(self.backbone, x)[2:], {})
