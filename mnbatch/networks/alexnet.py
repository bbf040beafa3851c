"""AlexNet (Krizhevsky, "One weird trick", 2014; as in torchvision), dense layers and all, with two outputs."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from mnbatch.networks.alexnet_layers import alexnet_convolutions, alexnet_dense_layers
from mnbatch.networks.network import Network


class AlexNet(Network):
    """57 million parameters, 95 % of them in the dense layers (61 million with ImageNet's 1000 classes).

    No evidence map: the dense layers do not add up over positions.
    """

    pretrained: ClassVar[str | None] = "alexnet"

    def __init__(self) -> None:
        super().__init__()
        self.features = alexnet_convolutions()  # 3 x 224 x 224 -> 256 x 6 x 6
        self.classifier = alexnet_dense_layers(2)  # dropout, 9216 -> 4096, dropout, 4096 -> 4096, 4096 -> 2

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 224, 224) normalised input -> (B, 2) logits."""
        # torchvision pools to 6 x 6 here, which it is at 224 pixels; on a GPU that step has no deterministic gradient.
        logits: Tensor = self.classifier(self.features(x).flatten(start_dim=1))
        return logits
