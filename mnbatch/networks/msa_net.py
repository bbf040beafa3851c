"""MSA-Net, multi-scale attention network (Al-Antary and Arafa, IEEE Access 9:54190, 2021), with two outputs.

Built from the description in its paper's abstract, which was all that was at hand, and from no code: an
encoder; mid- and high-level features combined; a pyramid that describes the picture at several scales;
attention over the scales; a classifier. It is this project's reading, not the authors' network. What is open,
and what is taken here:

* Encoder: ResNet-18, so that it differs from `resnet18` and `resnet18-att` in nothing but what is put on top.
* Mid level is layer3 (14 x 14), high level is layer4 (7 x 7), upsampled bilinearly; both are concatenated and
  brought to 256 channels by a 1 x 1 convolution with batch normalisation and ReLU.
* Pyramid: four branches of 128 channels: 1 x 1, and 3 x 3 with dilation 1, 2 and 4, which see 1, 3, 5 and 9
  positions (16 to 144 pixels of the combined feature's grid).
* Attention: from all four branches a 1 x 1 convolution gives one value a scale and position; softmax over the
  scales, so that at each position the scales compete; each branch is multiplied by its map.
* Classifier: global average pooling of each scale and one linear layer, as in this package's other networks.
* The paper's second task (healthy or not, beside the severity) is left out: it is the only task here.
* Loss: as for the other networks (theirs is cross-entropy).
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnbatch.networks.network import Stream, Streamed, StreamNetwork
from mnbatch.networks.resnet import resnet18_backbone, resnet_features

DILATIONS = (0, 1, 2, 4)
"""Of the pyramid's branches; 0 stands for the 1 x 1 convolution."""


def _branch(channels_in: int, channels_out: int, dilation: int) -> nn.Sequential:
    """Convolution that keeps the size, with batch normalisation and ReLU."""
    kernel = 3 if dilation else 1
    convolution = nn.Conv2d(channels_in, channels_out, kernel, padding=dilation, dilation=max(dilation, 1), bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out), nn.ReLU())


class MsaNet(StreamNetwork):
    """See above; the attention maps of the four scales sum to 1 at each position."""

    pretrained: ClassVar[str | None] = "resnet18"
    backbone_in: ClassVar[str] = "backbone."

    def __init__(self) -> None:
        super().__init__()
        self.streams = tuple(Stream(f"scale{1 + 2 * dilation}", 128, 14, 0, 16) for dilation in DILATIONS)
        self.backbone = resnet18_backbone()
        self.combine = _branch(256 + 512, 256, 0)
        self.pyramid = nn.ModuleList(_branch(256, 128, dilation) for dilation in DILATIONS)
        self.scale_attention = nn.Conv2d(len(DILATIONS) * 128, len(DILATIONS), kernel_size=1)
        self.classifier = self.linear_layer()  # 512 -> 2

    def forward_streams(self, x: Tensor) -> Streamed:
        """See `StreamNetwork`."""
        _, middle, high = resnet_features(self.backbone, x)  # (B, 256, 14, 14), (B, 512, 7, 7)
        high = F.interpolate(high, size=middle.shape[-2:], mode="bilinear", align_corners=False)
        combined = self.combine(torch.cat([middle, high], dim=1))  # (B, 256, 14, 14)
        scales = [branch(combined) for branch in self.pyramid]  # (B, 128, 14, 14) each
        attention = self.scale_attention(torch.cat(scales, dim=1)).softmax(dim=1)  # (B, 4, 14, 14)
        attended = tuple(scale * attention[:, i : i + 1] for i, scale in enumerate(scales))
        return Streamed(attended, {stream.name: attention[:, i] for i, stream in enumerate(self.streams)})
