"""Training as the paper states it: SGD, rate divided by ten after each third, the best epoch by validation AUC."""

from __future__ import annotations

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
from mnbatch.training.training_loop import Trained, Trainer
from mnbatch.training.training_state import Epoch

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
# The loop is that of `mnbatch train`. There an epoch draws cells and changes anew; here its cells are those of the
# protocol, each once, in an order drawn anew, and the recipe averages no weights.


SCORED_AT_ONCE = 32
VALIDATION = "validation"


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """The weights of the best epoch, and all epochs; `learning` is their seconds of training, without validation."""

    network: nn.Module
    best: int
    epochs: tuple[Epoch, ...]


class ProtocolFeed:
    """The minibatches of a protocol's training part, see `mnbatch.training.training_loop.Feed`."""

    def __init__(self, pixels: Pixels, part: Part, minibatch: int, seed: int) -> None:
        self.pixels, self.part, self.size, self.seed = pixels, part, minibatch, seed
        self.cells = len(part.labels)
        self.minibatches = len(list(minibatches(np.arange(self.cells), minibatch)))

    def epoch(self, number: int, first: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        """See `Feed`."""
        order = np.random.default_rng([self.seed, 4, number]).permutation(self.cells)
        for chosen in list(minibatches(order, self.size))[first:]:
            labels = torch.from_numpy(self.part.labels[chosen].astype(np.int64)).to(device)
            yield self.pixels.inputs(self.part, chosen, device), labels


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
    """Train a network and keep its best epoch.

    Raises:
        TrainingError: the loss, or a score, is no longer a number.
    """

    def watch(weights: nn.Module) -> dict[str, float]:
        return {VALIDATION: auc(scores_of(weights, pixels, validation, device), validation.labels)}

    def report(epoch: Epoch, so_far: Trained) -> None:
        value = epoch.aucs[VALIDATION]
        words = f"loss {epoch.loss:.4f}, validation AUC {value:.3f} ({epoch.learning:.0f} s)"
        say(f"  epoch {epoch.number}/{recipe.epochs}: {words}")

    feed = ProtocolFeed(pixels, training, recipe.minibatch, seed)
    trained = Trainer(
        network=network, feed=feed, watch=watch, recipe=recipe, seed=seed, device=device, report=report
    ).run()
    return Fitted(trained.network, trained.best.number, trained.history)


def minibatches(order: npt.NDArray[np.intp], size: int) -> Iterator[npt.NDArray[np.intp]]:
    """Cut an order into minibatches; a last one of a single cell is left out (normalisation needs two)."""
    for start in range(0, len(order), size):
        if len(order) - start > 1:
            yield order[start : start + size]


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
