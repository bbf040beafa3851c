"""Files of backbone weights, and which network each of them fits."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mnbatch.errors import TrainingError
from mnbatch.networks import ARCHITECTURES
from mnbatch.networks.network import Network
from mnbatch.training.initial import read_state


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A state dict with torchvision's names.

    Attributes:
        name: of the file; digest: SHA-256 of the tensors, hex.
    """

    name: str
    digest: str
    state: dict[str, Tensor]


def read_weights(files: Sequence[Path]) -> tuple[Weights, ...]:
    """Read files of weights (.pth, .safetensors); nothing in them is ever executed.

    Raises:
        TrainingError: a file that is absent or holds no state dict.
    """
    return tuple(_read(file) for file in files)


def _read(file: Path) -> Weights:
    state = {name: tensor.float() for name, tensor in read_state(file).items()}
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode() + state[name].contiguous().numpy().tobytes())
    return Weights(file.name, digest.hexdigest()[:32], state)


def fitting_weights(name: str, offered: Sequence[Weights]) -> Weights | None:
    """The first of the offered weights that fill the backbone of the network of this name."""
    return next((weights for weights in offered if _fits(name, weights)), None)


def _fits(name: str, weights: Weights) -> bool:
    with torch.device("meta"):
        network = ARCHITECTURES[name]()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nothing is copied here: names and shapes are all that is asked
            network.load_backbone(weights.state)
    except ValueError:
        return False
    return True


def built(name: str, seed: int, weights: Weights | None) -> tuple[Network, str]:
    """A new network and a word on its start.

    Without weights every layer starts as its architecture does it; with weights so does what they leave out.

    Raises:
        TrainingError: the weights do not fit.
    """
    torch.manual_seed(seed)
    network = ARCHITECTURES[name]()
    if weights is None:
        return network, "scratch"
    try:
        left = network.load_backbone(weights.state)
    except ValueError as error:
        raise TrainingError(f"{weights.name} does not fit {name}: {error}.", "Leave it out.") from error
    return network, f"weights of {weights.name}, all but {len(left)} of {len(list(network.parameters()))} tensors"
