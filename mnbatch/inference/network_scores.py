"""What a network says of a minibatch, in one form for all networks and devices."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit
from torch import Tensor, nn

from mnbatch.assay.map_grid import ORIGIN, STEP, positions
from mnbatch.errors import ModelError, UsageError
from mnbatch.inference.card import ModelCard
from mnbatch.inference.model_directory import LoadedModel
from mnbatch.networks.attention_alexnet import AttentionAlexNet, Explained
from mnbatch.networks.network import INPUT_SIZE, Network, Stream, StreamNetwork

# What a network says of cells, and the small steps that every device shares.


MAPS = ("attention5", "attention6", "evidence")
"""Maps in the order in which scores hold them."""


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Scores of n cells, in the order in which they were given.

    Attributes:
        p_mn: float64 (n,), probability that the cell has a micronucleus, 0..1.
        maps: float32 (n, 3, s, s), s positions a side (`mnbatch.assay.map_grid`): attention of layer 5, of layer 6
            (0..1), evidence for MN in logits; NaN where the network gives no such map.
        ratios: float64 (n, 2), continuation ratios of the number of micronuclei (`mnbatch.assay.mn_counts`);
            None from a model that answers yes or no.
    """

    p_mn: npt.NDArray[np.float64]
    maps: npt.NDArray[np.float32]
    ratios: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.p_mn)

    @staticmethod
    def joined(parts: list[Scores], input_size: int = INPUT_SIZE) -> Scores:
        """Scores of several minibatches one after the other.

        Args:
            input_size: of the network, which decides the shape of no maps.
        """
        if not parts:
            side = positions(input_size)
            return Scores(np.zeros(0), np.zeros((0, len(MAPS), side, side), np.float32))
        ratios = [part.ratios for part in parts if part.ratios is not None]
        return Scores(
            np.concatenate([p.p_mn for p in parts]),
            np.concatenate([p.maps for p in parts]),
            np.concatenate(ratios) if ratios else None,
        )


class Normaliser:
    """uint8 crops to normalised network input, on the device that holds them.

    Args:
        card: gives mean and standard deviation a channel.
        device: where the crops will be.

    Attributes:
        same_in_all_channels: grey crops stay grey.
    """

    def __init__(self, card: ModelCard, device: torch.device) -> None:
        asked = card.normalisation
        self.same_in_all_channels = len(set(asked.mean)) == len(set(asked.std)) == 1
        mean, std = np.array(asked.mean), np.array(asked.std)
        # One row of pixels, so that the arithmetic runs over long contiguous rows, not over three channels.
        size = card.preparation.size
        self._scale = torch.tensor(np.tile(1 / (255 * std), size), dtype=torch.float32, device=device)
        self._shift = torch.tensor(np.tile(-mean / std, size), dtype=torch.float32, device=device)

    def __call__(self, crops: Tensor) -> Tensor:
        """(B, S, S, 3) uint8 -> (B, 3, S, S) float32, channels-last in memory."""
        rows = crops.flatten(start_dim=2).to(torch.float32)
        rows = rows.mul_(self._scale).add_(self._shift)
        return rows.view(crops.shape).permute(0, 3, 1, 2)

    def grey(self, crops: Tensor) -> Tensor:
        """(B, S, S) uint8 -> (B, 1, S, S) float32: the one channel of what `__call__` gives of such crops."""
        return crops.to(torch.float32).mul_(self._scale[0]).add_(self._shift[0])[:, None]


def packed(explained: Explained) -> Tensor:
    """(B, 2 + 3 s s) float32: logits and maps in one tensor, so that one copy brings them back.

    A network with a counter adds two columns.
    """
    maps = torch.stack([explained.attention5, explained.attention6, explained.evidence], dim=1)
    ratios = [] if explained.ratios is None else [explained.ratios]
    return torch.cat([explained.logits, maps.flatten(start_dim=1), *ratios], dim=1)


def evidence_columns(columns: int) -> tuple[slice, int]:
    """Where the evidence lies in a row of `packed` with so many columns, and its positions a side."""
    side = math.isqrt((columns - 2) // len(MAPS))  # two columns of ratios are less than a position's three
    end = 2 + len(MAPS) * side * side
    return slice(end - side * side, end), side


def unpacked(values: npt.NDArray[np.float32], temperature: float) -> Scores:
    """Scores from the first n rows of what `packed` made.

    `p_mn = sigmoid((logit of MN - logit of no MN) / temperature)`: the softmax of two classes.
    """
    margin = values[:, 1].astype(np.float64) - values[:, 0].astype(np.float64)
    evidence, side = evidence_columns(values.shape[1])
    end = evidence.stop
    maps = values[:, 2:end].reshape(len(values), len(MAPS), side, side)
    ratios = expit(values[:, end:].astype(np.float64)) if values.shape[1] > end else None
    return Scores(expit(margin / temperature), maps.copy(), ratios)


# What any network says of a minibatch, in one form: logits, and whichever maps it gives on the common grid.
#
# attention-AlexNet gives its two attention maps and its exact evidence. Every other network that classifies averages
# over positions gives exact evidence, brought from the grids of its features to the common one with the same sum;
# their attention maps belong to other layers and are not kept. Networks with dense layers (alexnet, vgg16) give no
# map: what is not there is NaN here, "no map" on a page, and never a picture without colour, which would look like
# "no evidence".


def common_grid(input_size: int) -> Stream:
    """The grid of `mnbatch.assay.map_grid` for an input of so many pixels a side."""
    return Stream("common", 0, positions(input_size), ORIGIN, STEP)


def maps_of(network: nn.Module) -> tuple[str, ...]:
    """Names of the maps that a network gives, of `MAPS`."""
    if isinstance(network, AttentionAlexNet):
        return MAPS
    return ("evidence",) if isinstance(network, StreamNetwork) else ()


def network_of(model: LoadedModel) -> Network:
    """The network of a model, to be copied by an engine.

    Raises:
        ModelError: it is none of this package's networks.
    """
    if not isinstance(model.network, Network):
        raise ModelError(
            f"{model.path} holds a {type(model.network).__name__}, which does not score cells.",
            "Choose another model with --model; `mnbatch model list` shows the bundled ones.",
        )
    return model.network


PRECISIONS = {torch.float32: "fp32", torch.bfloat16: "bf16"}
"""Type of the convolutions -> how it is recorded."""


def convolutions_for(network: nn.Module, device: torch.device, asked: str) -> torch.dtype:
    """In what a device runs the convolutions of a network.

    Args:
        asked: fp32; bf16, which only attention-AlexNet has, since its effect on p_mn was measured there alone; or auto:
            bfloat16 where that is so and the device is a GPU, float32 elsewhere.

    Raises:
        UsageError: bf16 for another network, or on a processor without it, where it would be slow.
    """
    measured = isinstance(network, AttentionAlexNet)
    if asked == "auto":
        return torch.bfloat16 if measured and device.type == "cuda" else torch.float32
    if asked == "fp32":
        return torch.float32
    if asked != "bf16":
        raise UsageError(f"Unknown precision {asked!r}.", "Use auto, fp32 or bf16.")
    if not measured:
        raise UsageError(
            f"--precision bf16: what it changes was measured for attention-alexnet, not for {type(network).__name__}.",
            "Use --precision fp32 or auto.",
        )
    if device.type == "cpu" and not cpu_has_bfloat16():
        raise UsageError("--precision bf16: this processor has no instructions for it.", "Use fp32 or auto.")
    return torch.bfloat16


def cpu_has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 by itself (AVX512-BF16 or AMX)."""
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name, bool)()) for name in asked)


def explained(network: Network, x: Tensor, convolutions: torch.dtype = torch.float32) -> Explained:
    """(B, 3, S, S) normalised input -> logits and maps; maps that the network does not give are NaN.

    Args:
        convolutions: bfloat16 for attention-AlexNet where that was chosen. Its attention modules and its linear layer
            are a few per cent of the work; in bfloat16 they would cost the probabilities most of their digits.
    """
    if isinstance(network, AttentionAlexNet):
        return _attention_alexnet(network, x, convolutions)
    grid = common_grid(x.shape[-1])
    none = x.new_full((len(x), grid.size, grid.size), float("nan"))
    if not isinstance(network, StreamNetwork):
        return Explained(network(x), none, none, none, x.new_zeros(()))
    maps = network.maps(x)
    return Explained(
        logits=maps.logits,
        attention5=none,
        attention6=none,
        evidence=network.evidence_on(grid, maps),
        bias=maps.bias,
        ratios=maps.ratios,
    )


def _attention_alexnet(network: AttentionAlexNet, x: Tensor, convolutions: torch.dtype) -> Explained:
    if convolutions == torch.float32:
        return network.explain(x)
    with torch.autocast(x.device.type, dtype=convolutions):
        features = network.convolutions(x)
    layer5, layer6, layer7 = (feature.float() for feature in features)
    return network.explain_features(layer5, layer6, layer7)
