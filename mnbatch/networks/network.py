"""What all networks have in common: two classes, a backbone that may be initialised; and most: streams.

A network of streams averages each of its features ("streams") over the positions and classifies the averages
with one linear layer. Both steps are linear, so the MN margin is a sum over positions: an exact evidence map.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

INPUT_SIZE = 224
"""Pixels a side of the input of every network."""


class Network(nn.Module, ABC):
    """A classifier of cells: (B, 3, 224, 224) normalised with ImageNet's mean and deviation -> (B, 2) logits.

    Attributes:
        classes: what the two logits stand for.
        pretrained: torchvision's builder whose ImageNet weights fit the backbone; None where torchvision has
        none. backbone_in: where torchvision's names live in this network's state: "" or "backbone.".
        backbone_is: what the backbone's names begin with, of those; all of them have to be filled.
        alike_mean, alike_std: normalisation with which the first convolution sees the three channels alike, so that
            training on one mixture of the colours can be carried over to them exactly (`mnbatch train`).
    """

    classes: ClassVar[tuple[str, str]] = ("nomn", "mn")
    pretrained: ClassVar[str | None] = None
    backbone_in: ClassVar[str] = ""
    backbone_is: ClassVar[str] = "features."
    alike_mean: ClassVar[tuple[float, float, float]] = (0.449, 0.449, 0.449)
    alike_std: ClassVar[tuple[float, float, float]] = (0.226, 0.226, 0.226)

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 224, 224) normalised input -> (B, 2) logits."""

    def in_backbone(self, name: str) -> bool:
        """Whether a parameter belongs to the backbone, and not to what is put on top of it."""
        return name.startswith(self.backbone_in or self.backbone_is)

    def load_backbone(self, state: Mapping[str, Tensor]) -> tuple[str, ...]:
        """Initialise from a state dict with torchvision's names (`pretrained`).

        Whatever fits by name and shape is taken: the whole backbone, and dense layers where this network
        keeps them and `state` has them. The last layer never fits (1000 classes there).

        Returns:
            Names of this network's parameters that keep their random values.

        Raises:
            ValueError: part of the backbone is absent from `state` or has another shape; nothing is changed
            then.
        """
        own = self.state_dict()
        offered = {self.backbone_in + name: value for name, value in state.items()}
        fitting = {k: v for k, v in offered.items() if k in own and own[k].shape == v.shape}
        root = self.backbone_in or self.backbone_is
        absent = [k for k in own if k.startswith(root) and k not in fitting and "num_batches" not in k]
        if absent or not fitting:
            raise ValueError(f"{len(absent)} backbone tensors are absent or misshapen, first {absent[:1] or root!r}")
        self.load_state_dict(fitting, strict=False)
        return tuple(name for name, _ in self.named_parameters() if name not in fitting)


@dataclass(frozen=True, slots=True)
class Stream:
    """One feature that is averaged over its positions and classified.

    Attributes:
        name: of the layer.
        channels: of the feature.
        size: positions a side, at 224 pixels.
        origin, step: position i is centred at input pixel `origin + step * i` (of rows and of columns).
    """

    name: str
    channels: int
    size: int
    origin: float
    step: float


class Streamed(NamedTuple):
    """What a network of streams computes before its linear layer.

    Attributes:
        features: (B, channels, size, size) each, in the order of the network's `streams`.
        attention: (B, size, size) each, 0..1, by the name of the stream; streams without attention have none.
    """

    features: tuple[Tensor, ...]
    attention: dict[str, Tensor]


class Maps(NamedTuple):
    """Logits with the maps that explain them, from one pass.

    Attributes:
        logits: (B, 2).
        attention: as in `Streamed`; empty for networks without spatial attention.
        evidence: (B, size, size) each, by stream; all of them and `bias` sum to the MN margin
            `logits[:, 1] - logits[:, 0]`.
        bias: scalar, the linear layer's own margin.
        ratios: (B, 2) logits of P(2 or more MN | 1 or more) and P(3 or more | 2 or more); None without a counter.
    """

    logits: Tensor
    attention: dict[str, Tensor]
    evidence: dict[str, Tensor]
    bias: Tensor
    ratios: Tensor | None = None


def weigh_channels(feature: Tensor, weight: Tensor) -> Tensor:
    """(B, C, H, W), (C,) -> (B, H, W): weighted sum over the channels, as a 1 x 1 convolution.

    Not `einsum`: its matrix product rounds differently with the place in the minibatch.
    """
    return F.conv2d(feature, weight.view(1, -1, 1, 1))[:, 0]


def linear(vector: Tensor, layer: nn.Linear) -> Tensor:
    """(B, n) -> (B, m), as `layer(vector)`.

    Products and a sum instead: a matrix product rounds differently with the place in the minibatch.
    """
    return (vector.unsqueeze(1) * layer.weight).sum(dim=2) + layer.bias


class StreamNetwork(Network):
    """Global average pooling of each stream, one linear layer `classifier` on their concatenation.

    Attributes:
        streams: in the order of the linear layer's inputs.
        dropout: of the concatenated averages, in training only; 0 where the original has none.
        counter: for models that count micronuclei, a second linear layer on the same averages. It answers what the
            first leaves open: continuation ratios of the number of micronuclei (`mnbatch.assay.mn_counts`).
    """

    streams: tuple[Stream, ...]
    classifier: nn.Linear
    counter: nn.Linear | None
    dropout: ClassVar[float] = 0.0

    def __init__(self) -> None:
        super().__init__()
        # Not `register_module`: a strict `load_state_dict` would take the weights of a counter that is not there.
        self.counter = None

    @abstractmethod
    def forward_streams(self, x: Tensor) -> Streamed:
        """(B, 3, 224, 224) normalised input -> features and attention maps."""

    def linear_layer(self) -> nn.Linear:
        """A new linear layer for the streams."""
        return nn.Linear(sum(stream.channels for stream in self.streams), 2)

    def add_counter(self) -> nn.Linear:
        """Give the network a counter, with random weights; what it says of MN or no MN stays as it is."""
        self.counter = self.linear_layer()
        return self.counter

    def pooled(self, features: Sequence[Tensor]) -> Tensor:
        """Features of the streams -> (B, sum of channels): their averages over the positions."""
        return torch.cat([feature.mean(dim=(2, 3)) for feature in features], dim=1)

    def ratio_logits(self, vector: Tensor) -> Tensor | None:
        """What `pooled` gives -> (B, 2), see `Maps.ratios`; None without a counter."""
        return None if self.counter is None else linear(vector, self.counter)

    def forward_ratios(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """(B, 3, 224, 224) normalised input -> logits (B, 2) and those of the ratios, from one pass."""
        vector = self._dropped(self.pooled(self.forward_streams(x).features))
        return linear(vector, self.classifier), self.ratio_logits(vector)

    def _dropped(self, vector: Tensor) -> Tensor:
        return F.dropout(vector, self.dropout, self.training)

    def pooled_logits(self, features: Sequence[Tensor]) -> Tensor:
        """Features of the streams -> (B, 2) logits."""
        return linear(self._dropped(self.pooled(features)), self.classifier)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 224, 224) normalised input -> (B, 2) logits."""
        return self.pooled_logits(self.forward_streams(x).features)

    def maps(self, x: Tensor) -> Maps:
        """(B, 3, 224, 224) normalised input -> logits and maps; they add up in evaluation mode."""
        features, attention = self.forward_streams(x)
        weight = self.classifier.weight[1] - self.classifier.weight[0]
        weights = torch.split(weight, [stream.channels for stream in self.streams])
        evidence = {
            stream.name: weigh_channels(feature, part) / (feature.shape[2] * feature.shape[3])
            for stream, feature, part in zip(self.streams, features, weights, strict=True)
        }
        bias = self.classifier.bias[1] - self.classifier.bias[0]
        ratios = self.ratio_logits(self.pooled(features))
        return Maps(self.pooled_logits(features), attention, evidence, bias, ratios)

    def evidence_map(self, maps: Maps) -> Tensor:
        """All evidence on the finest stream's grid: (B, size, size), with the same sum."""
        finest = min(self.streams, key=lambda stream: stream.step)
        return self.evidence_on(replace(finest, size=maps.evidence[finest.name].shape[-1]), maps)

    def evidence_on(self, grid: Stream, maps: Maps) -> Tensor:
        """All evidence on any grid of positions: (B, grid.size, grid.size), with the same sum.

        A position's evidence goes to the grid's positions round its centre, shared by their nearness.
        """
        total = maps.logits.new_zeros((len(maps.logits), grid.size, grid.size))
        for stream in self.streams:
            evidence = maps.evidence[stream.name]
            total = total + moved(evidence, replace(stream, size=evidence.shape[-1]), grid)
        return total


def moved(evidence: Tensor, stream: Stream, grid: Stream) -> Tensor:
    """(B, stream.size, stream.size) -> (B, grid.size, grid.size) on another grid of positions, with the same sum."""
    share = _shares(grid, stream).to(evidence)
    rows = _combined(share, evidence)
    return _combined(share, rows.transpose(1, 2)).transpose(1, 2)


def _combined(share: Tensor, values: Tensor) -> Tensor:
    """(m, n), (B, n, k) -> (B, m, k), as `share @ values`, rounded alike at every place of the minibatch (`linear`)."""
    return (share[:, :, None] * values[:, None]).sum(dim=2)


def _shares(grid: Stream, stream: Stream) -> Tensor:
    """(grid.size, stream.size) float64: shares of a stream's positions on a grid; columns sum to 1."""
    centre = (stream.origin + stream.step * torch.arange(stream.size, dtype=torch.float64) - grid.origin) / grid.step
    positions = torch.arange(grid.size, dtype=torch.float64)
    nearness = (1 - (positions[:, None] - centre.clamp(0, grid.size - 1)).abs()).clamp(min=0)
    return nearness / nearness.sum(dim=0)
