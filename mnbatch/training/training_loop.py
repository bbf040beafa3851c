"""The training loop of every training: minibatches in, the best averaged weights out, its state kept at any step."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnbatch.errors import TrainingError
from mnbatch.networks.network import Network
from mnbatch.training.recipe import Recipe
from mnbatch.training.training_state import (
    Epoch,
    Snapshot,
    fill_module,
    fill_optimiser,
    fill_random,
    optimiser_state,
    random_state,
    state_of,
)


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """The best weights (by validation AUC) and how the run went."""

    network: nn.Module
    best: Epoch
    history: tuple[Epoch, ...]


Report = Callable[[Epoch, Trained], None]
Progress = Callable[[int, int, float], None]


class Feed(Protocol):
    """Where minibatches come from.

    Attributes:
        minibatches: of an epoch; cells: of an epoch.
    """

    minibatches: int
    cells: int

    def epoch(self, number: int, first: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        """Network inputs (B, 3, S, S) and labels (B,) of an epoch, from its minibatch `first` on.

        The same for the same numbers, whatever was drawn before, so that a training goes on within an epoch.
        """
        ...


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


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Rate of the backbone for a step (counted from 0) of so many, by the recipe's schedule."""
    done = step / steps
    if recipe.schedule == "steps":
        return recipe.learning_rate * 0.1 ** math.floor(3 * done + 1e-9)
    warming = min(1.0, (step + 1) * recipe.epochs / steps) if recipe.epochs > 2 else 1.0
    return recipe.learning_rate * warming * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


def has_bf16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16; a processor that must imitate it is slower than in float32."""
    if device.type != "cpu":
        return True
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _now(device: torch.device) -> float:
    """Seconds of the clock when the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()


class Trainer:
    """One run of one recipe.

    Args:
        network: initialised; trained in place.
        feed: gives the minibatches; watch: AUC by validation set of the weights as they are.
        seed: of what the network draws itself (dropout).
        report: called after every epoch with its figures and the best so far.
        progress: called after every minibatch with the epoch's number, and cells done and seconds taken since the epoch
            was begun (or gone on with); `snapshot` may be taken then.
    """

    def __init__(
        self,
        network: nn.Module,
        feed: Feed,
        watch: Callable[[nn.Module], Mapping[str, float]],
        recipe: Recipe,
        seed: int,
        device: torch.device,
        report: Report | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = copy.deepcopy(self.network)
        self.feed, self.watch, self.recipe, self.device = feed, watch, recipe, device
        self.report, self.progress = report, progress
        torch.manual_seed(seed)
        self.optimiser = self._make_optimiser()
        self.step = 0
        self.steps = recipe.epochs * feed.minibatches
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
        return Snapshot(
            step=self.step,
            history=history,
            best=best,
            tensors=tensors,
            best_weights=weights,
            minibatches=self.minibatches,
            losses=self.losses,
        )

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
        learned = _now(self.device)
        aucs = self.watch(self.averaged)
        return Epoch(number, loss, aucs, time.monotonic() - started, learned - started)

    def _make_optimiser(self) -> torch.optim.Optimizer:
        recipe = self.recipe
        backbone = [weight for name, weight in self.network.named_parameters() if in_backbone(self.network, name)]
        head = [weight for name, weight in self.network.named_parameters() if not in_backbone(self.network, name)]
        weights = [{"params": backbone, "factor": 1.0}, {"params": head, "factor": recipe.head_factor}]
        if recipe.optimiser == "sgd":
            return torch.optim.SGD(weights, recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay)
        return torch.optim.AdamW(weights, recipe.learning_rate, weight_decay=recipe.weight_decay)

    def _train_epoch(self, number: int) -> float:
        self.network.train()
        started, cells_done = 0.0, 0
        for inputs, labels in self.feed.epoch(number, self.minibatches, self.device):
            started = started or time.monotonic()  # not the wait for cells that are still being drawn
            self.losses += self._learn(inputs, labels, number)
            self.minibatches += 1
            cells_done += len(inputs)
            if self.progress is not None:
                self.progress(number, cells_done, time.monotonic() - started)
        loss = self.losses / max(1, self.minibatches)
        self.minibatches, self.losses = 0, 0.0
        return loss

    def _learn(self, inputs: Tensor, labels: Tensor, number: int) -> float:
        """One step of the optimiser; the loss before it."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.recipe, self.step, self.steps) * group["factor"]
        loss = self._loss(inputs, labels)
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

    def _loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
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
