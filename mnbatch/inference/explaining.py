"""What any network says of a minibatch, in one form: logits, and whichever maps it gives on the common grid.

attention-AlexNet gives its two attention maps and its exact evidence. Every other network that classifies averages over
positions gives exact evidence, brought from the grids of its features to the common one with the same sum; their
attention maps belong to other layers and are not kept. Networks with dense layers (alexnet, vgg16) give no map: what is
not there is NaN here, "no map" on a page, and never a picture without colour, which would look like "no evidence".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mnbatch.errors import ModelError
from mnbatch.inference.model_directory import LoadedModel
from mnbatch.inference.scores import MAPS
from mnbatch.networks.attention_alexnet import GRID, AttentionAlexNet, Explained
from mnbatch.networks.network import Network, Stream, StreamNetwork

COMMON_GRID = Stream("common", 0, GRID, 15, 16)
"""Position i is centred at pixel 15 + 16 i of the 224-pixel input."""


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
            f"{model.path} holds a {type(model.network).__name__}, which is no network that scores cells.",
            "Choose another model with --model; `mnbatch model list` shows the bundled ones.",
        )
    return model.network


def gpu_precision(network: nn.Module) -> torch.dtype:
    """In what a GPU runs the convolutions: bfloat16 where its effect on p_mn was measured, float32 elsewhere."""
    return torch.bfloat16 if isinstance(network, AttentionAlexNet) else torch.float32


def explained(network: Network, x: Tensor, convolutions: torch.dtype = torch.float32) -> Explained:
    """(B, 3, 224, 224) normalised input -> logits and maps; maps that the network does not give are NaN.

    Args:
        convolutions: bfloat16 for attention-AlexNet on a GPU. Its attention modules and its linear layer are a few per
            cent of the work; in bfloat16 they would cost the probabilities most of their digits.
    """
    if isinstance(network, AttentionAlexNet):
        return _attention_alexnet(network, x, convolutions)
    none = x.new_full((len(x), GRID, GRID), float("nan"))
    if not isinstance(network, StreamNetwork):
        return Explained(network(x), none, none, none, x.new_zeros(()))
    maps = network.maps(x)
    return Explained(maps.logits, none, none, network.evidence_on(COMMON_GRID, maps), maps.bias, maps.ratios)


def _attention_alexnet(network: AttentionAlexNet, x: Tensor, convolutions: torch.dtype) -> Explained:
    if convolutions == torch.float32:
        return network.explain(x)
    with torch.autocast(x.device.type, dtype=convolutions):
        features = network.convolutions(x)
    layer5, layer6, layer7 = (feature.float() for feature in features)
    return network.explain_features(layer5, layer6, layer7)
