"""The training loop: pools of prepared cells in, the best averaged weights out; and its whole state."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnbatch.errors import TrainingError
from mnbatch.evaluation.metrics import Labels, Scores, auc
from mnbatch.networks.network import Network
from mnbatch.training.augmentation import augmented
from mnbatch.training.recipe import Recipe

# All that a training needs to go on exactly as if it had not been stopped, as plain tensors and text.
#
# Nothing is pickled: tensors are named `network.*`, `averaged.*`, `optimiser.<number>.*` and `random.*`, so that they
# can be kept with safetensors and read from a file that anybody may have written.


Tensors = dict[str, Tensor]


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


# The training loop: pools of prepared cells in, the best averaged weights out.


UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Prepared cells of one source.

    Attributes:
        name: for messages and the card.
        pixels: uint8 (N, S, S, C), as the preparation leaves them.
        labels: bool (N,), True where the cell has a micronucleus.
        share: of an epoch's cells that are drawn from this pool.
        counts: int (N,), micronuclei of each cell, -1 for one that has some and nobody knows how many; None where no
            cell was counted.
    """

    name: str
    pixels: UInt8Array
    labels: Labels
    share: float = 1.0
    counts: npt.NDArray[np.int16] | None = None


class ToInput(Protocol):
    """How prepared pixels become network input: (B, C, S, S) in 0..1 -> (B, 3, S, S) normalised."""

    def __call__(self, cells: Tensor) -> Tensor:
        """Normalise a minibatch."""
        ...


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch came to.

    Attributes:
        number: counted from 1.
        loss: mean over the epoch's training cells.
        aucs: by validation pool, of the averaged weights.
        seconds: wall time.
    """

    number: int
    loss: float
    aucs: Mapping[str, float]
    seconds: float

    @property
    def score(self) -> float:
        """What checkpoints are chosen by: the mean AUC over the validation pools; nan where there are none."""
        return float(np.mean(list(self.aucs.values()))) if self.aucs else math.nan


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """The best weights (by validation AUC) and how the run went."""

    network: nn.Module
    best: Epoch
    history: tuple[Epoch, ...]


def in_backbone(network: nn.Module, name: str) -> bool:
    """Whether a parameter is trained at the recipe's rate, and not `head_factor` times as fast."""
    return network.in_backbone(name) if isinstance(network, Network) else name.startswith("features.")


def focal_loss(logits: Tensor, labels: Tensor, gamma: float) -> Tensor:
    """Mean of -(1 - p)^gamma log p, p the probability of the true class (Lin et al. 2017; equation 8 of the paper).

    Args:
        logits: (B, 2); labels: int64 (B,). gamma 0 is cross-entropy.
    """
    log_p = F.log_softmax(logits, dim=1).gather(1, labels[:, None])[:, 0]
    return -((1 - log_p.exp()) ** gamma * log_p).mean()


def epoch_order(
    pools: Sequence[Pool], cells: int, rng: np.random.Generator, with_mn: float = 0.5
) -> list[tuple[int, int]]:
    """Draw one epoch: (pool, cell) pairs, `with_mn` of each pool's with micronuclei, in random order."""
    total = sum(pool.share for pool in pools)
    drawn: list[tuple[int, int]] = []
    for index, pool in enumerate(pools):
        for label in (True, False):
            wanted = round(cells * pool.share / total * (with_mn if label else 1 - with_mn))
            members = np.flatnonzero(pool.labels == label)
            rounds = [rng.permutation(members) for _ in range(math.ceil(wanted / len(members)))]
            drawn += [(index, int(i)) for i in np.concatenate([*rounds, members[:0]])[:wanted]]
    return [drawn[i] for i in rng.permutation(len(drawn))]


def minibatches(
    pools: Sequence[Pool], recipe: Recipe, seed: int, epoch: int, first: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Augmented minibatches of one epoch: cells (B, C, S, S) in 0..1, labels (B,).

    Each has random numbers of its own, so that an epoch goes on at any of them as if it had not been stopped.

    Args:
        epoch: its number; first: minibatches that are done.
    """
    order = epoch_order(pools, recipe.cells_per_epoch, np.random.default_rng([seed, epoch]), recipe.with_mn)
    for number in range(first, math.ceil(len(order) / recipe.minibatch)):
        chosen = order[number * recipe.minibatch : (number + 1) * recipe.minibatch]
        pixels = np.stack([pools[p].pixels[i] for p, i in chosen])
        cells = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
        labels = torch.tensor([int(pools[p].labels[i]) for p, i in chosen])
        rng = np.random.default_rng([seed, epoch, number + 1])
        yield augmented(cells, recipe.augmentation, rng, coloured=recipe.polarity == "stains"), labels


@torch.no_grad()
def score(network: nn.Module, pixels: UInt8Array, to_input: ToInput, device: torch.device, turns: int = 1) -> Scores:
    """Probability of a micronucleus for prepared cells (N, S, S, C).

    Args:
        turns: 1, or 4 to average the logits over quarter turns.
    """
    network.eval()
    margins = []
    for start in range(0, len(pixels), 64):
        cells = torch.from_numpy(pixels[start : start + 64]).permute(0, 3, 1, 2).float() / 255
        inputs = to_input(cells).to(device)
        turned = [network(torch.rot90(inputs, turn, (2, 3))).float() for turn in range(turns)]
        logits = torch.stack(turned).mean(0)
        margins.append((logits[:, 1] - logits[:, 0]).cpu())
    return torch.sigmoid(torch.cat(margins)).double().numpy()


Drawn = Callable[[int], Sequence[Pool]]
"""Training pools of an epoch by its number; every one has cells of both classes."""


def has_bf16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16; a processor that must imitate it is slower than in float32."""
    if device.type != "cpu":
        return True
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


class Trainer:
    """One run of one recipe.

    Args:
        network: initialised; trained in place.
        training: pools, or what gives those of each epoch; every training pool has cells of both classes.
        validation: pools.
        report: called after every epoch with its figures and the best so far.
        progress: called after every minibatch with the epoch's number, and cells done and seconds taken since the epoch
            was begun (or gone on with); `snapshot` may be taken then.
    """

    def __init__(
        self,
        network: nn.Module,
        training: Sequence[Pool] | Drawn,
        validation: Sequence[Pool],
        recipe: Recipe,
        to_input: ToInput,
        seed: int,
        device: torch.device,
        report: Callable[[Epoch, Trained], None] | None = None,
        progress: Callable[[int, int, float], None] | None = None,
    ) -> None:
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = copy.deepcopy(self.network)
        self.training: Drawn = training if callable(training) else lambda _: training
        self.validation, self.recipe, self.seed = validation, recipe, seed
        self.to_input, self.device, self.report, self.progress = to_input, device, report, progress
        torch.manual_seed(seed)
        self.optimiser = self._make_optimiser()
        self.step = 0
        self.steps = recipe.epochs * math.ceil(recipe.cells_per_epoch / recipe.minibatch)
        self.so_far: Trained | None = None
        self.minibatches, self.losses = 0, 0.0

    def run(self) -> Trained:
        """All epochs of the recipe, or those that are left after `restore`.

        Raises:
            TrainingError: the loss is no longer a number.
        """
        done = len(self.so_far.history) if self.so_far else 0
        for number in range(done + 1, self.recipe.epochs + 1):
            epoch = self._epoch(number)
            self.so_far = self._with(epoch)
            if self.report is not None:
                self.report(epoch, self.so_far)
        assert self.so_far is not None  # a recipe has at least one epoch
        return self.so_far

    def snapshot(self) -> Snapshot:
        """What `restore` needs to go on from here; to be taken after an epoch or, by `progress`, a minibatch."""
        tensors = {
            **state_of(self.network, "network."),
            **state_of(self.averaged, "averaged."),
            **optimiser_state(self.optimiser),
            **random_state(self.device),
        }
        past = self.so_far
        history, best = (past.history, past.best) if past else ((), None)
        weights = state_of(past.network) if past else {}
        return Snapshot(self.step, history, best, tensors, weights, self.minibatches, self.losses)

    def restore(self, kept: Snapshot) -> None:
        """Go on where a training of the same recipe, seed and cells was: `run` then ends with the same weights.

        Raises:
            RuntimeError, KeyError, IndexError, ValueError: the snapshot is of another network, or not whole.
        """
        if kept.best is not None:
            best = copy.deepcopy(self.averaged).eval()
            fill_module(best, kept.best_weights)
            self.so_far = Trained(best, kept.best, kept.history)
        if kept.tensors:
            fill_module(self.network, kept.tensors, "network.")
            fill_module(self.averaged, kept.tensors, "averaged.")
            fill_optimiser(self.optimiser, kept.tensors)
            fill_random(self.device, kept.tensors)
        self.step, self.minibatches, self.losses = kept.step, kept.minibatches, kept.losses

    def _with(self, epoch: Epoch) -> Trained:
        """The training with one epoch more."""
        past = self.so_far
        if past is None or epoch.score > past.best.score:
            return Trained(copy.deepcopy(self.averaged).eval(), epoch, (*(past.history if past else ()), epoch))
        return Trained(past.network, past.best, (*past.history, epoch))

    def _epoch(self, number: int) -> Epoch:
        started = time.monotonic()
        loss = self._train_epoch(number)
        aucs = {
            pool.name: auc(score(self.averaged, pool.pixels, self.to_input, self.device), pool.labels)
            for pool in self.validation
        }
        return Epoch(number, loss, aucs, time.monotonic() - started)

    def _make_optimiser(self) -> torch.optim.Optimizer:
        recipe = self.recipe
        backbone = [weight for name, weight in self.network.named_parameters() if in_backbone(self.network, name)]
        head = [weight for name, weight in self.network.named_parameters() if not in_backbone(self.network, name)]
        weights = [{"params": backbone, "factor": 1.0}, {"params": head, "factor": recipe.head_factor}]
        if recipe.optimiser == "sgd":
            return torch.optim.SGD(weights, recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay)
        return torch.optim.AdamW(weights, recipe.learning_rate, weight_decay=recipe.weight_decay)

    def _rate(self) -> float:
        """Learning rate of the backbone for the coming step."""
        recipe, done = self.recipe, self.step / self.steps
        if recipe.schedule == "steps":
            return recipe.learning_rate * 0.1 ** math.floor(3 * done)
        warming = min(1.0, (self.step + 1) * recipe.epochs / self.steps) if recipe.epochs > 2 else 1.0
        return recipe.learning_rate * warming * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))

    def _train_epoch(self, number: int) -> float:
        self.network.train()
        started, cells_done = time.monotonic(), 0
        for cells, labels in minibatches(
            self.training(number), self.recipe, self.seed, number, first=self.minibatches
        ):
            self.losses += self._learn(cells, labels.to(self.device), number)
            self.minibatches += 1
            cells_done += len(cells)
            if self.progress is not None:
                self.progress(number, cells_done, time.monotonic() - started)
        loss = self.losses / max(1, self.minibatches)
        self.minibatches, self.losses = 0, 0.0
        return loss

    def _learn(self, cells: Tensor, labels: Tensor, number: int) -> float:
        """One step of the optimiser; the loss before it."""
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate() * group["factor"]
        loss = self._loss(cells, labels)
        if not bool(torch.isfinite(loss)):
            raise TrainingError(
                f"The loss is {loss.item()} in epoch {number}: training has diverged.",
                f"Lower learning_rate in the recipe (now {self.recipe.learning_rate:g}) and give --restart."
                + (f" The model of epoch {self.so_far.best.number} stays where it is." if self.so_far else ""),
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.step += 1
        self._average()
        return loss.item()

    def _loss(self, cells: Tensor, labels: Tensor) -> Tensor:
        inputs = self.to_input(cells).to(self.device, memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.bf16 and has_bf16(self.device)):
            logits = self.network(inputs)
        return focal_loss(logits.float(), labels, self.recipe.gamma if self.recipe.loss == "focal" else 0.0)

    @torch.no_grad()
    def _average(self) -> None:
        """Exponential moving average; short at first, so that the untrained start is soon forgotten.

        The means and variances of batch normalisation belong to the weights they were measured with, so they are
        averaged alike; its counters, which are integers, are copied.
        """
        keep = min(self.recipe.averaging, self.step / (self.step + 10))
        state = self.network.state_dict()
        for name, mean in self.averaged.state_dict().items():
            if mean.is_floating_point():
                mean.lerp_(state[name], 1 - keep)
            else:
                mean.copy_(state[name])
