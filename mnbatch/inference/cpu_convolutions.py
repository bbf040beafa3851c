"""Convolutions that a processor computes faster in another way; the sums are the same up to float32's rounding.

* Wide kernels as products of Fourier transforms: a 5 x 5 kernel takes 25 multiplications a pair of channels and
  position; tiles of 16 x 16 pixels in the frequency domain take 256 products for 12 x 12 positions, whatever the kernel
  (Mathieu, Henaff and LeCun 2013). NNPACK, which is part of torch, does it.
* The first layer on grey cells: their three channels are the same, so the kernels of the three are added up once, and a
  kernel of stride s is one of stride 1 over the s x s pixels of a block as channels.

Every cell of a minibatch is computed by itself, wherever it lies and whatever lies beside it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NARROWEST = 5
"""Pixels of a kernel; 3 x 3 was no faster than the direct convolution (docs/benchmarks.md)."""

WIDEST = 16
"""Pixels; of a kernel that NNPACK takes."""

FEWEST_CHANNELS = 32
"""On either side: the transforms of a channel are shared by all channels of the other side."""


class FourierConvolution(nn.Module):
    """A convolution of stride 1.

    Args:
        convolution: whose weights it takes.

    Raises:
        RuntimeError: torch was built without NNPACK, or the processor is not one of those it knows.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        if not has_nnpack():
            raise RuntimeError("NNPACK is not to be had here")
        # In the order of rows that NNPACK takes, whatever the network's.
        self.weight = nn.Parameter(convolution.weight.detach().contiguous(), requires_grad=False)
        self.bias = convolution.bias
        self.padding = [int(side) for side in convolution.padding]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H', W'), channels-last in memory."""
        y = torch._nnpack_spatial_convolution(x.contiguous(), self.weight, self.bias, self.padding, (1, 1))
        return y.contiguous(memory_format=torch.channels_last)


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
        weight = F.pad(convolution.weight.detach().sum(dim=1, keepdim=True), (0, wider, 0, wider))
        by_blocks = F.pixel_unshuffle(weight.contiguous(), self.stride)
        self.weight = nn.Parameter(by_blocks.contiguous(memory_format=torch.channels_last), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, D, H', W'), channels-last in memory."""
        grey = (x[:, 1:] == x[:, :1]).flatten(start_dim=1).all(dim=1)
        if not bool(grey.any()):
            return self.coloured(x)  # type: ignore[no-any-return]
        y = self._grey(x[:, :1])
        if not bool(grey.all()):
            y = torch.where(grey[:, None, None, None], y, self.coloured(x))
        return y

    def _grey(self, x: Tensor) -> Tensor:
        sides = [(side + 2 * self.padding - self.kernel) // self.stride + 1 for side in x.shape[2:]]
        below, right = (
            (positions + self.blocks - 1) * self.stride - side - self.padding
            for positions, side in zip(sides, x.shape[2:], strict=True)
        )
        blocks = F.pixel_unshuffle(F.pad(x, (self.padding, right, self.padding, below)), self.stride)
        return F.conv2d(blocks.contiguous(memory_format=torch.channels_last), self.weight, self.coloured.bias)


Kinds = tuple[type[nn.Module], ...]

ALL: Kinds = (FourierConvolution, GreyFirstConvolution)

BY_PROCESSOR: dict[str, Kinds] = {"AVX2": ALL, "AVX512": (FourierConvolution,)}
"""What was measured to be faster with an instruction set, as torch names it (docs/benchmarks.md)."""


def faster_here() -> Kinds:
    """Kinds of convolutions by which this processor gains; none where torch lacks what they take."""
    return BY_PROCESSOR.get(torch.backends.cpu.get_cpu_capability(), ()) if has_nnpack() else ()


def has_nnpack() -> bool:
    """Whether torch has NNPACK for this processor; to be asked before its first use, because asking makes it ready."""
    there = hasattr(torch, "_nnpack_spatial_convolution")
    return there and bool(torch.backends.nnpack.is_available())  # type: ignore[no-untyped-call]


def with_faster_convolutions(network: nn.Module, kinds: Kinds = ALL) -> nn.Module:
    """The network itself, for inference in float32, with convolutions of these kinds where they fit."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d) and _is_plain(child):
                if FourierConvolution in kinds and _is_wide(child):
                    setattr(parent, name, FourierConvolution(child))
                elif GreyFirstConvolution in kinds and _is_first(child):
                    setattr(parent, name, GreyFirstConvolution(child))
    return network


def _is_plain(convolution: nn.Conv2d) -> bool:
    zeros = convolution.padding_mode == "zeros" and not isinstance(convolution.padding, str)
    return zeros and (convolution.dilation, convolution.groups) == ((1, 1), 1)


def _is_wide(convolution: nn.Conv2d) -> bool:
    fits = all(NARROWEST <= side <= WIDEST for side in convolution.kernel_size)
    channels = min(convolution.in_channels, convolution.out_channels)
    return fits and convolution.stride == (1, 1) and channels >= FEWEST_CHANNELS


def _is_first(convolution: nn.Conv2d) -> bool:
    square = all(len(set(pair)) == 1 for pair in (convolution.kernel_size, convolution.stride, convolution.padding))
    return square and convolution.in_channels == 3 and 1 < convolution.stride[0] < convolution.kernel_size[0]
