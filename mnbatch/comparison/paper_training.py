"""Training as the paper states it: SGD, rate divided by ten after each third, the best epoch by validation AUC."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mnbatch.comparison.data_split import Cells
from mnbatch.comparison.protocols import Part, Plan, changed
from mnbatch.errors import TrainingError
from mnbatch.evaluation.labelled_cells import load_crops
from mnbatch.evaluation.metrics import Scores, auc
from mnbatch.imaging.preparation import ContrastRule, Preparation
from mnbatch.training.recipe import Recipe
from mnbatch.training.training_loop import focal_loss

# Prepared crops in memory, and network input made from them a minibatch at a time.


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, which every network of `mnbatch.networks` expects."""


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """Prepared crops by their place among all cells.

    Attributes:
        rows: place -> row of `crops`, -1 where a cell was not read.
        crops: (n, S, S, 3), uint8.
    """

    rows: npt.NDArray[np.intp]
    crops: npt.NDArray[np.uint8]

    def inputs(self, part: Part, order: npt.NDArray[np.intp], device: torch.device) -> Tensor:
        """Cells of a part, changed and normalised: (B, 3, S, S), float32."""
        crops = torch.from_numpy(self.crops[self.rows[part.places[order]]]).to(device)
        cells = changed(crops.permute(0, 3, 1, 2).float() / 255, [part.changes[i] for i in order])
        mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD))
        return ((cells - mean) / std).contiguous(memory_format=torch.channels_last)


def read_pixels(data: Cells, plans: Sequence[Plan], recipe: Recipe) -> Pixels:
    """Read the cells that any of the plans holds; 150 kB each.

    Raises:
        TrainingError: an image that cannot be read, or is not one crop.
    """
    parts = [part for plan in plans for part in (plan.training, plan.validation, plan.test)]
    places = np.unique(np.concatenate([part.places for part in parts]))
    preparation = Preparation(polarity=recipe.polarity, contrast=ContrastRule(rule=recipe.contrast))
    crops, _ = load_crops([data.cells[place] for place in places], preparation)
    rows = np.full(len(data.cells), -1, dtype=np.intp)
    rows[places] = np.arange(len(places))
    return Pixels(rows, crops)


# Training as the paper states it: SGD, rate divided by ten after each third, the best epoch by validation AUC.
#
# `mnbatch.training.training_loop.Trainer` draws new changes for every epoch and averages weights; here the cells of
# an epoch are those of the protocol, each once, and the weights are the network's own.


LARGEST_GRADIENT = 5.0
"""Norm to which gradients are clipped, as in `mnbatch train`; the paper says nothing."""

SCORED_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch came to; `seconds` of training, without validation."""

    number: int
    loss: float
    validation_auc: float
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """The weights of the best epoch, and all epochs."""

    network: nn.Module
    best: int
    epochs: tuple[Epoch, ...]


def fit(
    network: nn.Module,
    pixels: Pixels,
    training: Part,
    validation: Part,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    say: Callable[[str], None],
) -> Fitted:
    """Train a network, in place, and keep its best epoch.

    Raises:
        TrainingError: the loss, or a score, is no longer a number.
    """
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.SGD(
        network.parameters(), recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay
    )
    torch.manual_seed(seed)  # of dropout
    rng = np.random.default_rng([seed, 4])
    epochs: list[Epoch] = []
    best: Fitted | None = None
    for number in range(1, recipe.epochs + 1):
        started = time.perf_counter()
        loss = _train(network, optimiser, pixels, training, recipe, number, rng, device)
        seconds = _elapsed(started, device)
        value = auc(scores_of(network, pixels, validation, device), validation.labels)
        epochs.append(Epoch(number, loss, value, seconds))
        say(f"  epoch {number}/{recipe.epochs}: loss {loss:.4f}, validation AUC {value:.3f} ({seconds:.0f} s)")
        if best is None or value > epochs[best.best - 1].validation_auc:
            best = Fitted(copy.deepcopy(network).eval(), number, tuple(epochs))
    assert best is not None  # a recipe has at least one epoch
    return Fitted(best.network, best.best, tuple(epochs))


def _train(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    pixels: Pixels,
    part: Part,
    recipe: Recipe,
    number: int,
    rng: np.random.Generator,
    device: torch.device,
) -> float:
    network.train()
    total = 0.0
    batches = list(minibatches(rng.permutation(len(part.labels)), recipe.minibatch))
    for done, order in enumerate(batches):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(recipe, (number - 1 + done / len(batches)) / recipe.epochs)
        labels = torch.from_numpy(part.labels[order].astype(np.int64)).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.bf16):
            logits = network(pixels.inputs(part, order, device))
        loss = focal_loss(logits.float(), labels, recipe.gamma if recipe.loss == "focal" else 0.0)
        if not bool(torch.isfinite(loss)):
            raise TrainingError(f"the loss is {loss.item()} in epoch {number}", "Lower the learning rate.")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
        optimiser.step()
        total += loss.item() * len(order)
    return total / len(part.labels)


def minibatches(order: npt.NDArray[np.intp], size: int) -> Iterator[npt.NDArray[np.intp]]:
    """Cut an order into minibatches; a last one of a single cell is left out (normalisation needs two)."""
    for start in range(0, len(order), size):
        if len(order) - start > 1:
            yield order[start : start + size]


def learning_rate(recipe: Recipe, done: float) -> float:
    """The paper's steps: a tenth after each third of the run.

    Args:
        done: share of the run that is over, 0..1.
    """
    return recipe.learning_rate * 0.1 ** math.floor(3 * done + 1e-9)


@torch.no_grad()
def scores_of(network: nn.Module, pixels: Pixels, part: Part, device: torch.device) -> Scores:
    """Probability of a micronucleus of each cell of a part, in float32.

    Raises:
        TrainingError: a score is no number.
    """
    network.eval()
    found = []
    for start in range(0, len(part.labels), SCORED_AT_ONCE):
        order = np.arange(start, min(start + SCORED_AT_ONCE, len(part.labels)))
        logits = network(pixels.inputs(part, order, device)).float()
        found.append(torch.softmax(logits, dim=1)[:, 1].double().cpu())
    scores = torch.cat(found).numpy()
    if not np.isfinite(scores).all():
        raise TrainingError("scores of held-out cells are no numbers", "Lower the learning rate.")
    return np.asarray(scores)


def timed_scores(network: nn.Module, pixels: Pixels, part: Part, device: torch.device) -> tuple[Scores, float]:
    """Scores of a part and the seconds they took, after a minibatch that is not timed."""
    first = Part(part.places[:SCORED_AT_ONCE], part.changes[:SCORED_AT_ONCE], part.labels[:SCORED_AT_ONCE])
    scores_of(network, pixels, first, device)
    _wait(device)
    started = time.perf_counter()
    scores = scores_of(network, pixels, part, device)
    return scores, _elapsed(started, device)


def _elapsed(started: float, device: torch.device) -> float:
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
