"""The method of the paper on any backbone: two middle features, attended with the last one as guide."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from mnbatch.networks.attention import AttentionFactory
from mnbatch.networks.network import Stream, Streamed, StreamNetwork


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
