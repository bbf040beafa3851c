"""VGG-16 (Simonyan and Zisserman 2014; torchvision's, without batch normalisation), with two outputs."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from mnbatch.networks.network import Network


class Vgg16(Network):
    """134 million parameters, 119 million of them in the dense layers; no evidence map for that reason."""

    pretrained: ClassVar[str | None] = "vgg16"

    def __init__(self) -> None:
        from torchvision.models import vgg16

        super().__init__()
        whole = vgg16(weights=None, num_classes=2)
        self.features = whole.features  # 3 x 224 x 224 -> 512 x 7 x 7
        self.classifier = whole.classifier  # 25088 -> 4096, dropout, 4096 -> 4096, dropout, 4096 -> 2

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 224, 224) normalised input -> (B, 2) logits."""
        # torchvision pools to 7 x 7 here, which it is at 224 pixels; on a GPU that step has no deterministic gradient.
        logits: Tensor = self.classifier(self.features(x).flatten(start_dim=1))
        return logits
