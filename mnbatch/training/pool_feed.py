"""What feeds a training by pools: prepared cells of several sources, drawn by their shares and changed at random."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mnbatch.errors import TrainingError
from mnbatch.evaluation.metrics import Labels, Scores, auc
from mnbatch.inference.card import View
from mnbatch.inference.second_look import shown
from mnbatch.training.augmentation import augmented
from mnbatch.training.recipe import Recipe
from mnbatch.training.training_loop import Progress, Report, Trainer

MORE_CELLS = "Ask for more synthetic cells (--made-cells, or synthetic_cells in the recipe)."
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


def one_class(pool: Pool, label: bool) -> TrainingError:
    """That a pool has no cell with micronuclei (`label`) or none without."""
    next_step = "Give labelled cells of both classes." if pool.name == "labelled" else MORE_CELLS
    word = "with" if label else "without"
    return TrainingError(
        f"None of the {len(pool.labels)} {pool.name} cells is {word} micronuclei: nothing can be learned.", next_step
    )


def epoch_order(
    pools: Sequence[Pool], cells: int, rng: np.random.Generator, with_mn: float = 0.5
) -> list[tuple[int, int]]:
    """Draw one epoch: (pool, cell) pairs, `with_mn` of each pool's with micronuclei, in random order.

    Raises:
        TrainingError: a pool has none of the cells that are to be drawn from it, or no pool is to be drawn from.
    """
    total = sum(pool.share for pool in pools)
    if total <= 0:
        raise TrainingError("No source of cells has a share above 0.", "Give one in the recipe.")
    drawn: list[tuple[int, int]] = []
    for index, pool in enumerate(pools):
        for label in (True, False):
            wanted = round(cells * pool.share / total * (with_mn if label else 1 - with_mn))
            members = np.flatnonzero(pool.labels == label)
            if not wanted:
                continue
            if not len(members):
                raise one_class(pool, label)
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
        yield augmented(cells, recipe.augmentation, rng, coloured=recipe.coloured), labels


@torch.no_grad()
def score(
    network: nn.Module, pixels: UInt8Array, to_input: ToInput, device: torch.device, views: Sequence[View] = ()
) -> Scores:
    """Probability of a micronucleus for prepared cells (N, S, S, C).

    Args:
        views: in which every cell is shown besides; the logits are averaged.
    """
    network.eval()
    margins = []
    for start in range(0, len(pixels), 64):
        cells = torch.from_numpy(pixels[start : start + 64]).permute(0, 3, 1, 2).float() / 255
        inputs = to_input(cells).to(device)
        looks = [inputs, *(shown(inputs, view) for view in views)]
        logits = torch.stack([network(look).float() for look in looks]).mean(0)
        margins.append((logits[:, 1] - logits[:, 0]).cpu())
    return torch.sigmoid(torch.cat(margins)).double().numpy()


Drawn = Callable[[int], Sequence[Pool]]
"""Training pools of an epoch by its number; every one has cells of both classes."""


class PoolFeed:
    """The minibatches of a recipe, see `mnbatch.training.training_loop.Feed`.

    Args:
        pools: those of each epoch.
    """

    def __init__(self, pools: Drawn, recipe: Recipe, to_input: ToInput, seed: int) -> None:
        self.pools, self.recipe, self.to_input, self.seed = pools, recipe, to_input, seed
        self.minibatches = math.ceil(recipe.cells_per_epoch / recipe.minibatch)
        self.cells = recipe.cells_per_epoch

    def epoch(self, number: int, first: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        """See `Feed`."""
        for cells, labels in minibatches(self.pools(number), self.recipe, self.seed, number, first):
            yield self.to_input(cells).to(device, memory_format=torch.channels_last), labels.to(device)


def pool_trainer(
    network: nn.Module,
    training: Sequence[Pool] | Drawn,
    validation: Sequence[Pool],
    recipe: Recipe,
    to_input: ToInput,
    seed: int,
    device: torch.device,
    report: Report | None = None,
    progress: Progress | None = None,
) -> Trainer:
    """A training by pools.

    Args:
        network: initialised; trained in place.
        training: pools, or what gives those of each epoch; every one has cells of both classes.
        validation: pools whose AUCs choose the epoch.
        report, progress: see `Trainer`.
    """
    drawn: Drawn = training if callable(training) else lambda _: training

    def watch(averaged: nn.Module) -> dict[str, float]:
        return {pool.name: auc(score(averaged, pool.pixels, to_input, device), pool.labels) for pool in validation}

    feed = PoolFeed(drawn, recipe, to_input, seed)
    return Trainer(
        network=network,
        feed=feed,
        watch=watch,
        recipe=recipe,
        seed=seed,
        device=device,
        report=report,
        progress=progress,
    )
