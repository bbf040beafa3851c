"""The state of a training: what its epochs came to, and all that it needs to go on as if it had not been stopped.

Nothing is pickled: tensors are named `network.*`, `averaged.*`, `optimiser.<number>.*` and `random.*`, so that they
    can be kept
with safetensors and read from a file that anybody may have written.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

Tensors = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch came to.

    Attributes:
        number: counted from 1.
        loss: mean over the epoch's training cells.
        aucs: by validation set, of the averaged weights.
        seconds: wall time; learning: of these, without validation.
    """

    number: int
    loss: float
    aucs: Mapping[str, float]
    seconds: float
    learning: float = 0.0

    @property
    def score(self) -> float:
        """What checkpoints are chosen by: the mean AUC over the validation sets; nan where there are none."""
        return float(np.mean(list(self.aucs.values()))) if self.aucs else math.nan


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A training after a whole epoch, or within one.

    Attributes:
        step: optimiser steps done.
        history: every whole epoch so far; best: the one whose averaged weights are kept, None in the first epoch.
        tensors: of the network, of the averaged weights, of the optimiser, of torch's random numbers; none where all
            epochs of the recipe are done.
        best_weights: state of the best averaged network; empty in the first epoch.
        minibatches: done of the epoch that was begun; losses: their sum.
    """

    step: int
    history: tuple[Epoch, ...]
    best: Epoch | None
    tensors: Tensors
    best_weights: Tensors
    minibatches: int = 0
    losses: float = 0.0


def state_of(module: nn.Module, prefix: str = "") -> Tensors:
    """A module's weights and buffers on the CPU, contiguous, names with a prefix."""
    return {prefix + name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}


def fill_module(module: nn.Module, tensors: Mapping[str, Tensor], prefix: str = "") -> None:
    """The counterpart of `state_of`; strides (channels-last) stay as they are.

    Raises:
        RuntimeError: tensors are absent, too many, or of another shape.
    """
    module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})


def optimiser_state(optimiser: torch.optim.Optimizer) -> Tensors:
    """What the optimiser remembers of each weight; rates and groups are made anew from the recipe."""
    found = {}
    for number, weight in enumerate(_weights(optimiser)):
        for name, value in optimiser.state.get(weight, {}).items():
            if isinstance(value, Tensor):
                found[f"optimiser.{number}.{name}"] = value.detach().cpu().contiguous()
    return found


def fill_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The counterpart of `optimiser_state`.

    Moments get the strides of their weight, as the optimiser itself would make them, so that the same kernels run.
    """
    weights = list(_weights(optimiser))
    for key, value in tensors.items():
        if not key.startswith("optimiser."):
            continue
        _, number, name = key.split(".", 2)
        weight = weights[int(number)]
        like = weight.shape == value.shape and value.ndim > 0
        optimiser.state[weight][name] = torch.empty_like(weight).copy_(value) if like else value.clone()


def _weights(optimiser: torch.optim.Optimizer) -> Iterator[Tensor]:
    for group in optimiser.param_groups:
        yield from group["params"]


def random_state(device: torch.device) -> Tensors:
    """Of torch's generators: the CPU's and, where the training is on a GPU, that one's."""
    found = {"random.cpu": torch.get_rng_state()}
    if device.type == "cuda":
        found["random.cuda"] = torch.cuda.get_rng_state(device)
    return found


def fill_random(device: torch.device, tensors: Mapping[str, Tensor]) -> None:
    """The counterpart of `random_state`; a training that comes from another kind of device keeps the new one's."""
    torch.set_rng_state(tensors["random.cpu"])
    if device.type == "cuda" and "random.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random.cuda"], device)


def mean_of(tensors: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """The weighted mean of the same tensor of several networks; of integers, such as the counters of batch
    normalisation, the first."""
    if not tensors[0].is_floating_point():
        return tensors[0]
    stacked = torch.stack([tensor.double() for tensor in tensors])
    mean: Tensor = torch.tensordot(torch.tensor(shares, dtype=torch.float64, device=stacked.device), stacked, dims=1)
    return mean.float()
