"""From prepared pixels to network input, such that a mixture of colours can be tied into the first layer exactly."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from mnbatch.networks.network import Network

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Normalise:
    """(B, 1 or 3, S, S) in 0..1 -> (B, 3, S, S), (value - mean) / std for each channel.

    Attributes:
        mean, std: of red, green and blue.
    """

    mean: Triple
    std: Triple

    def __call__(self, cells: Tensor) -> Tensor:
        """Normalise a minibatch."""
        if len({*self.mean}) == len({*self.std}) == 1:
            return ((cells - self.mean[0]) / self.std[0]).expand(-1, 3, -1, -1)
        mean, std = (cells.new_tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (cells.expand(-1, 3, -1, -1) - mean) / std


def normalise_for(network: nn.Module) -> Normalise:
    """The normalisation with which a network's first convolution sees its three channels alike."""
    kind = type(network) if isinstance(network, Network) else Network
    return Normalise(kind.alike_mean, kind.alike_std)
