"""attention-AlexNet (Wei et al., BMC Med Inform Decis Mak 22:138, 2022), with its exact evidence map.

AlexNet's convolutional part, two attention modules that let its last feature look at two middle features,
global average pooling of the three, one linear layer. About 2.8 million parameters.

What the paper leaves open, and what is taken here:

* Layers are counted with the pooling layers, so layer 5 is conv3, layer 6 is conv4 and the last layer L is
  pool5; all are tapped after their ReLU.
* The attention kernels are 1 x 1; the attended feature is the middle one.
* Each stream is averaged over its positions before the concatenation.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnbatch.networks.alexnet_layers import alexnet_features
from mnbatch.networks.attention_modules import AttentionFactory, AttentionModule
from mnbatch.networks.network import INPUT_SIZE, Stream, Streamed, StreamNetwork, linear
from mnbatch.networks.network import weigh_channels as _weigh_channels

__all__ = ["GRID", "INPUT_SIZE", "AttentionAlexNet", "AttentionModule", "Explained"]

GRID = 13
"""Positions a side of layers 5 and 6 at 224 pixels; position i is centred at input pixel 15 + 16 i.

Shapes below are those at 224 pixels; larger inputs have more positions (`mnbatch.assay.map_grid`).
"""


class Explained(NamedTuple):
    """Logits with the maps that explain them, from one pass.

    Attributes:
        logits: (B, 2), classes (no MN, MN).
        attention5, attention6: (B, 13, 13), 0..1.
        evidence: (B, 13, 13); sums with `bias` to the MN margin `logits[:, 1] - logits[:, 0]`.
        bias: scalar, the classifier's own margin.
        ratios: (B, 2) logits of the continuation ratios, see `Maps`; None for a network without a counter.
    """

    logits: Tensor
    attention5: Tensor
    attention6: Tensor
    evidence: Tensor
    bias: Tensor
    ratios: Tensor | None = None


class AttentionAlexNet(StreamNetwork):
    """The network of the paper; `forward` gives logits, `explain` gives logits and maps.

    (`maps` gives the same maps in the form that all networks of streams share.)
    """

    pretrained: ClassVar[str | None] = "alexnet"

    def __init__(self, attention: AttentionFactory = AttentionModule) -> None:
        super().__init__()
        self.streams = (
            Stream("conv3", 384, 13, 15, 16),
            Stream("conv4", 256, 13, 15, 16),
            Stream("pool5", 256, 6, 31, 32),
        )
        self.features = alexnet_features()
        self.attention5 = attention(384, 256)
        self.attention6 = attention(256, 256)
        self.classifier = nn.Linear(384 + 256 + 256, 2)

    def convolutions(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, 224, 224) -> layer 5 (B, 384, 13, 13), layers 6 and 7 (B, 256, 13, 13)."""
        f = self.features
        x = f[2](f[1](f[0](x)))  # conv1 64 x 55 x 55, pool1 64 x 27 x 27
        x = f[5](f[4](f[3](x)))  # conv2 192 x 27 x 27, pool2 192 x 13 x 13
        layer5 = f[7](f[6](x))  # conv3 384 x 13 x 13; its ReLU is in place: the tap is the activated feature
        layer6 = f[9](f[8](layer5))  # conv4 256 x 13 x 13
        layer7 = f[11](f[10](layer6))  # conv5 256 x 13 x 13
        return layer5, layer6, layer7

    def forward_features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, 224, 224) -> layer 5 (B, 384, 13, 13), layer 6 (B, 256, 13, 13), L (B, 256, 6, 6)."""
        layer5, layer6, layer7 = self.convolutions(x)
        return layer5, layer6, self.features[12](layer7)  # pool5 256 x 6 x 6

    def _streams(self, layer5: Tensor, layer6: Tensor, last: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        attended5, map5 = self.attention5(layer5, last)
        attended6, map6 = self.attention6(layer6, last)
        return attended5, attended6, map5, map6

    def forward_streams(self, x: Tensor) -> Streamed:
        """See `StreamNetwork`."""
        layer5, layer6, last = self.forward_features(x)
        attended5, attended6, map5, map6 = self._streams(layer5, layer6, last)
        return Streamed((attended5, attended6, last), {"conv3": map5[:, 0], "conv4": map6[:, 0]})

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 224, 224) normalised input -> (B, 2) logits."""
        layer5, layer6, last = self.forward_features(x)
        attended5, attended6, _, _ = self._streams(layer5, layer6, last)
        return self.pooled_logits((attended5, attended6, last))

    def explain(self, x: Tensor) -> Explained:
        """(B, 3, 224, 224) normalised input -> logits and maps from one pass."""
        return self.explain_features(*self.convolutions(x))

    def explain_features(self, layer5: Tensor, layer6: Tensor, layer7: Tensor) -> Explained:
        """Logits and maps from what `convolutions` gives.

        Average pooling and the linear layer are both linear, so the MN margin is a sum over the positions of each
        stream. What a channel of L adds at one of its 6 x 6 positions is credited to the position of layer 7 whose
        value the maximum pooling took: the streams add up exactly on one 13 x 13 grid, and evidence lies where it
        was seen, not at the middle of the pooling window.
        """
        last, taken = F.max_pool2d(layer7, kernel_size=3, stride=2, return_indices=True)
        attended5, attended6, map5, map6 = self._streams(layer5, layer6, last)
        weight = self.classifier.weight[1] - self.classifier.weight[0]  # (896,)
        w5, w6, w_last = torch.split(weight, [384, 256, 256])
        evidence = (_weigh_channels(attended5, w5) + _weigh_channels(attended6, w6)) / (
            layer7.shape[2] * layer7.shape[3]
        )
        share = last * w_last.view(1, -1, 1, 1) / (last.shape[2] * last.shape[3])
        evidence = credited(evidence.flatten(1), taken, share).view_as(evidence)
        vector = self.pooled((attended5, attended6, last))  # (B, 896)
        return Explained(
            logits=linear(vector, self.classifier),
            attention5=map5[:, 0],
            attention6=map6[:, 0],
            evidence=evidence,
            bias=self.classifier.bias[1] - self.classifier.bias[0],
            ratios=self.ratio_logits(vector),
        )


def credited(evidence: Tensor, taken: Tensor, share: Tensor) -> Tensor:
    """Evidence (B, positions) with the shares (B, C, m, m) added at the positions that the maximum pooling took.

    A GPU adds what falls on one position in any order, so that the last bits would differ from pass to pass: there see
    `spread_in_order`.
    """
    if share.device.type != "cuda":
        return evidence.scatter_add(1, taken.flatten(1), share.flatten(1))
    return evidence + spread_in_order(share, taken, evidence.shape[1]).sum(dim=1)


def spread_in_order(share: Tensor, taken: Tensor, positions: int) -> Tensor:
    """(B, C, positions): the shares of each channel where they were taken, added in one order.

    Windows (3 wide, 2 apart) of every second row and column do not overlap: of these, at most one of a channel falls on
    a position.
    """
    spread = share.new_zeros((*share.shape[:2], positions))
    for row in (0, 1):
        for column in (0, 1):
            places, values = (part[:, :, row::2, column::2].flatten(2) for part in (taken, share))
            spread = spread.scatter_add(2, places, values)
    return spread
