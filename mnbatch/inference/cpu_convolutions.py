"""Convolutions that a processor computes faster in another way; the sums are the same up to float32's rounding.

* Kernels of 3 x 3 and 5 x 5 with many channels: with few multiplications (`mnbatch.inference.winograd`).
* The first layer on grey cells: their three channels are the same, so the kernels of the three are added up once, and a
  kernel of stride s is one of stride 1 over the s x s pixels of a block as channels.

Every cell of a minibatch is computed by itself, wherever it lies and whatever lies beside it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnbatch.inference.winograd import WinogradConvolution

FEWEST_CHANNELS = {3: 96, 5: 32}
"""By the taps of a kernel, on either side of it: the transforms of a channel are shared by all channels of the other
side, and were not faster with fewer (docs/benchmarks.md)."""


class GreyFirstConvolution(nn.Module):
    """A first layer with a stride, for cells of which most have three channels alike.

    Args:
        convolution: of three channels; cells with colour go through it.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.coloured = convolution
        self.stride, self.padding = int(convolution.stride[0]), int(convolution.padding[0])
        self.kernel = int(convolution.kernel_size[0])
        self.blocks = -(-self.kernel // self.stride)
        wider = self.blocks * self.stride - self.kernel
        weight = F.pad(convolution.weight.detach().sum(dim=1), (0, wider, 0, wider))
        by_blocks = self._in_blocks(weight)
        self.weight = nn.Parameter(by_blocks.contiguous(memory_format=torch.channels_last), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, D, H', W'), channels-last in memory; three channels in the same memory are grey."""
        if x.stride(1) == 0:
            return self._grey(x[:, 0])
        grey = (x[:, 1:] == x[:, :1]).flatten(start_dim=1).all(dim=1)
        if not bool(grey.any()):
            return self.coloured(x)  # type: ignore[no-any-return]
        y = self._grey(x[:, 0])
        if not bool(grey.all()):
            y = torch.where(grey[:, None, None, None], y, self.coloured(x))
        return y

    def _grey(self, x: Tensor) -> Tensor:
        sides = [(side + 2 * self.padding - self.kernel) // self.stride + 1 for side in x.shape[1:]]
        below, right = (
            (positions + self.blocks - 1) * self.stride - side - self.padding
            for positions, side in zip(sides, x.shape[1:], strict=True)
        )
        blocks = self._in_blocks(F.pad(x, (self.padding, right, self.padding, below)))
        return F.conv2d(blocks, self.weight, self.coloured.bias)

    def _in_blocks(self, x: Tensor) -> Tensor:
        """(B, H, W) -> (B, s s, H / s, W / s), channels-last in memory; `pixel_unshuffle` takes three times as long."""
        height, width = x.shape[1] // self.stride, x.shape[2] // self.stride
        split = x.reshape(len(x), height, self.stride, width, self.stride)
        return split.permute(0, 1, 3, 2, 4).reshape(len(x), height, width, -1).permute(0, 3, 1, 2)


Kinds = tuple[type[nn.Module], ...]

ALL: Kinds = (WinogradConvolution, GreyFirstConvolution)

BY_PROCESSOR: dict[str, Kinds] = {"AVX2": ALL, "AVX512": ALL}
"""What was measured to be faster with an instruction set, as torch names it (docs/benchmarks.md)."""


def faster_here() -> Kinds:
    """Kinds of convolutions by which this processor gains; none where nothing was measured."""
    return BY_PROCESSOR.get(torch.backends.cpu.get_cpu_capability(), ())


def takes_grey(network: nn.Module) -> bool:
    """Whether cells whose channels are the same memory are less work for it."""
    return any(isinstance(part, GreyFirstConvolution) for part in network.modules())


def with_faster_convolutions(network: nn.Module, kinds: Kinds = ALL) -> nn.Module:
    """The network itself, for inference in float32, with convolutions of these kinds where they fit."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d) and _is_plain(child):
                if WinogradConvolution in kinds and _has_many_channels(child):
                    setattr(parent, name, WinogradConvolution(child))
                elif GreyFirstConvolution in kinds and _is_first(child):
                    setattr(parent, name, GreyFirstConvolution(child))
    return network


def _is_plain(convolution: nn.Conv2d) -> bool:
    zeros = convolution.padding_mode == "zeros" and not isinstance(convolution.padding, str)
    return zeros and (convolution.dilation, convolution.groups) == ((1, 1), 1)


def _has_many_channels(convolution: nn.Conv2d) -> bool:
    taps = set(convolution.kernel_size)
    fewest = FEWEST_CHANNELS.get(max(taps))
    channels = min(convolution.in_channels, convolution.out_channels)
    return len(taps) == 1 and convolution.stride == (1, 1) and fewest is not None and channels >= fewest


def _is_first(convolution: nn.Conv2d) -> bool:
    square = all(len(set(pair)) == 1 for pair in (convolution.kernel_size, convolution.stride, convolution.padding))
    return square and convolution.in_channels == 3 and 1 < convolution.stride[0] < convolution.kernel_size[0]
