"""GoogLeNet (Szegedy et al. 2014; torchvision's, with batch normalisation), with two outputs."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from mnbatch.networks.network import Stream, Streamed, StreamNetwork

STREAMS = (
    Stream("inception3b", 480, 28, 6, 8),
    Stream("inception4e", 832, 14, 14, 16),
    Stream("inception5b", 1024, 7, 22, 32),
)
"""The last features of the stages at 28 x 28, 14 x 14 and 7 x 7."""

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, which `googlenet_features` takes back."""


def googlenet_backbone() -> nn.Module:
    """torchvision's network without its linear layer and without the two auxiliary heads."""
    from torchvision.models import googlenet

    backbone: nn.Module = googlenet(weights=None, aux_logits=False, init_weights=True)
    backbone.fc = nn.Identity()
    return backbone


def googlenet_features(backbone: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """-> inception3b (B, 480, 28, 28), inception4e (B, 832, 14, 14), inception5b (B, 1024, 7, 7).

    torchvision's weights come from a network that was fed (pixel - 0.5) / 0.5; this change from ImageNet's
    mean and deviation is made here, whether or not those weights are used, so that there is one network and
    not two.
    """
    mean, deviation = x.new_tensor(MEAN)[:, None, None], x.new_tensor(DEVIATION)[:, None, None]
    x = (x * deviation + mean - 0.5) / 0.5
    layers = dict(backbone.named_children())
    features: dict[str, Tensor] = {}
    for name, layer in layers.items():
        if name == "avgpool":
            break
        x = features[name] = layer(x)
    return features["inception3b"], features["inception4e"], features["inception5b"]


class GoogLeNet(StreamNetwork):
    """5.6 million parameters.

    The auxiliary heads are left out in training too: they help networks without batch normalisation, and with
    them the loss would not be that of the other networks. The dropout before the linear layer is
    torchvision's.
    """

    pretrained: ClassVar[str | None] = "googlenet"
    backbone_in: ClassVar[str] = "backbone."
    alike_mean: ClassVar[tuple[float, float, float]] = MEAN
    alike_std: ClassVar[tuple[float, float, float]] = DEVIATION
    dropout: ClassVar[float] = 0.2

    def __init__(self) -> None:
        super().__init__()
        self.streams = STREAMS[2:]
        self.backbone = googlenet_backbone()
        self.classifier = self.linear_layer()  # 1024 -> 2

    def forward_streams(self, x: Tensor) -> Streamed:
        """See `StreamNetwork`."""
        return Streamed(googlenet_features(self.backbone, x)[2:], {})
