"""Attention modules, and the paper's method on any backbone: two middle features attended with the last one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnbatch.networks.network import Stream, Streamed, StreamNetwork

# Attention modules: a middle feature and the last feature in, the middle feature out, attended.
#
# A network is given the kind of module that it uses (`attention: AttentionFactory`), so that the variants of
# the paper differ in this argument and in nothing else.


WHOLE_VECTORS = 64
"""Elements; a multiple of every vector that torch's CPU kernels unroll (2 x 16 float32 with AVX-512)."""

AttentionFactory = Callable[[int, int], nn.Module]
"""(channels of the middle feature, channels of the last feature) -> a module.

Its `forward(middle, last)` gives the attended middle feature (B, C, H, W) and the map (B, 1, H, W) in 0..1,
or None where the attention is not one of positions.
"""


def sigmoid(x: Tensor) -> Tensor:
    """(B, 1, H, W) -> (B, 1, H, W): the sigmoid, rounded alike at every place of a minibatch.

    On a CPU torch takes the last elements of an array, those that do not fill a vector, with another `exp`
    than the rest, so the last cell of a minibatch would differ in its last bit. Cells padded to whole vectors
    leave no rest.
    """
    flat = x.flatten(start_dim=1)
    padded = F.pad(flat, (0, -flat.shape[1] % WHOLE_VECTORS))
    return torch.sigmoid(padded)[:, : flat.shape[1]].reshape(x.shape)


class AttentionModule(nn.Module):
    """Equations 1 to 5: A = sigmoid(W * ReLU(bilinear(W_l * L) + W_m * M)), attended = A . M.

    Args:
        middle_channels: channels of the middle feature M.
        last_channels: channels of the last feature L.
        hidden: channels in which the two meet (256 in the paper).
    """

    def __init__(self, middle_channels: int, last_channels: int, hidden: int = 256) -> None:
        super().__init__()
        self.from_last = nn.Conv2d(last_channels, hidden, kernel_size=1)
        self.from_middle = nn.Conv2d(middle_channels, hidden, kernel_size=1)
        self.to_map = nn.Conv2d(hidden, 1, kernel_size=1)

    def forward(self, middle: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """Return (attended middle feature (B, C, H, W), attention map (B, 1, H, W) in 0..1)."""
        size = middle.shape[-2:]
        guide = F.interpolate(self.from_last(last), size=size, mode="bilinear", align_corners=False)
        hidden = F.relu(guide + self.from_middle(middle))
        attention = sigmoid(self.to_map(hidden))
        return attention * middle, attention


class ChannelAttention(nn.Module):
    """CBAM's channel attention (Woo et al., ECCV 2018): weight = sigmoid(MLP(mean of M) + MLP(maximum of M)).

    The weights are of channels, so there is no map of positions.

    Args:
        middle_channels: channels of the middle feature M.
        last_channels: not used: channel attention looks at M alone.
        reduction: channels / hidden units of the shared MLP (16 in CBAM's paper).
    """

    def __init__(self, middle_channels: int, last_channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = middle_channels // reduction
        self.mlp = nn.Sequential(nn.Linear(middle_channels, hidden), nn.ReLU(), nn.Linear(hidden, middle_channels))

    def forward(self, middle: Tensor, last: Tensor) -> tuple[Tensor, None]:
        """Return (attended middle feature (B, C, H, W), None)."""
        weight = torch.sigmoid(self.mlp(middle.mean(dim=(2, 3))) + self.mlp(middle.amax(dim=(2, 3))))
        return weight[:, :, None, None] * middle, None


# The method of the paper on any backbone: two middle features, attended with the last one as guide.


class AttendedNetwork(StreamNetwork):
    """Dense layers cut; attended shallow feature, attended deep feature and last feature are the streams.

    Args:
        streams: of the shallow, the deep and the last feature, in this order.
        attention: kind of the two modules.

    Modules made here: `attention_shallow`, `attention_deep` and `classifier`. A subclass makes its backbone,
    and says in `forward_features` where the three features lie.
    """

    def __init__(self, streams: tuple[Stream, Stream, Stream], attention: AttentionFactory) -> None:
        super().__init__()
        self.streams = streams
        shallow, deep, last = streams
        self.attention_shallow = attention(shallow.channels, last.channels)
        self.attention_deep = attention(deep.channels, last.channels)
        self.classifier = self.linear_layer()

    @abstractmethod
    def forward_features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, 224, 224) normalised input -> shallow, deep and last feature, after their ReLU."""

    def forward_streams(self, x: Tensor) -> Streamed:
        """See `StreamNetwork`."""
        shallow, deep, last = self.forward_features(x)
        attended_shallow, map_shallow = self.attention_shallow(shallow, last)
        attended_deep, map_deep = self.attention_deep(deep, last)
        named = zip(self.streams, (map_shallow, map_deep), strict=False)
        attention = {stream.name: drawn[:, 0] for stream, drawn in named if drawn is not None}
        return Streamed((attended_shallow, attended_deep, last), attention)


def run_to(layers: nn.Module, x: Tensor, taps: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Run a sequence of layers and keep what comes out of those numbered `taps` (ascending).

    A tap must be an activation's or a pooling's number: a convolution's output is overwritten by the ReLU in
    place that follows it.
    """
    kept = []
    for number, layer in enumerate(layers.children()):
        x = layer(x)
        if number in taps:
            kept.append(x)
        if number == taps[-1]:
            break
    return tuple(kept)
