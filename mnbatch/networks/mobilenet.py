"""MobileNet, the first version (Howard et al. 2017, arXiv:1704.04861, table 1), with two outputs.

torchvision has versions 2 and 3 only. Width multiplier 1, input 224.
"""

from __future__ import annotations

from torch import Tensor, nn

from mnbatch.networks.network import Stream, Streamed, StreamNetwork

BLOCKS = (
    # (channels out, stride)         size after
    (64, 1),  #                       112
    (128, 2), (128, 1),  #             56
    (256, 2), (256, 1),  #             28
    (512, 2), *[(512, 1)] * 5,  #      14
    (1024, 2), (1024, 1),  #            7; the table prints stride 2 for the last, but keeps the size at 7 x 7
)  # fmt: skip


def _separable(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    """3 x 3 convolution of each channel alone, 1 x 1 across channels; each with normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_in, 3, stride, padding=1, groups=channels_in, bias=False),
        nn.BatchNorm2d(channels_in),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels_in, channels_out, 1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


class MobileNet(StreamNetwork):
    """3.2 million parameters (4.2 million with ImageNet's 1000 classes).

    Open in the paper and taken here: He's initialisation (fan out), symmetric padding of 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.streams = (Stream("last", 1024, 7, 0, 32),)
        channels = [32, *[out for out, _ in BLOCKS]]
        stem = (
            nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
        )
        blocks = [_separable(channels[i], out, stride) for i, (out, stride) in enumerate(BLOCKS)]
        self.features = nn.Sequential(*stem, *blocks)  # 3 x 224 x 224 -> 1024 x 7 x 7
        self.classifier = self.linear_layer()  # 1024 -> 2
        for module in self.features.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_streams(self, x: Tensor) -> Streamed:
        """See `StreamNetwork`."""
        return Streamed((self.features(x),), {})
