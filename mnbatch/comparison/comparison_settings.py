"""What is compared and how: settings, the cells of the table, and the digest by which a finished cell is known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mnbatch.comparison.protocols import PROTOCOLS, Protocol
from mnbatch.errors import UsageError
from mnbatch.networks import ARCHITECTURES
from mnbatch.networks.cost import Cost, cost_of
from mnbatch.training.recipe import PAPER, Recipe

Loss = Literal["focal", "cross_entropy"]
Start = Literal["scratch", "weights"]
Starts = Literal["both", "scratch", "weights"]

RULES = 1
"""Counted up when a change of the program makes finished cells of a table incomparable with new ones."""

METHOD = "attention-alexnet"
RECIPE_FIELDS = (
    "epochs",
    "minibatch",
    "learning_rate",
    "momentum",
    "weight_decay",
    "gamma",
    "bf16",
    "polarity",
    "contrast",
)
"""Of `Recipe`, what a comparison uses; the optimiser is SGD and the schedule the paper's steps, always."""

REDUCED_EPOCHS, REDUCED_LIMIT, REDUCED_SEEDS, REDUCED_MINIBATCH = 2, 240, 1, 8
"""What `--reduced` means; small minibatches give the few cells more steps."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a whole table.

    Attributes:
        networks: names of `ARCHITECTURES`.
        protocols: of the data.
        seeds: how many; they are numbered from 1. A seed decides split, augmentation, weights and order.
        recipe: see `RECIPE_FIELDS`.
        limit: training cells, see `make_plan`; None for all.
        init: files of backbone weights (state dicts with torchvision's names); starts: which starts are wanted.
        prevalence: share of cells with MN for which AP and F1 are given as well.
        device: "cpu" or "cuda..."; threads: of torch on the CPU.
    """

    networks: tuple[str, ...] = tuple(ARCHITECTURES)
    protocols: tuple[Protocol, ...] = ("tad", "tvad")
    seeds: int = 3
    recipe: Recipe = PAPER
    limit: int | None = None
    init: tuple[Path, ...] = ()
    starts: Starts = "both"
    prevalence: float | None = None
    device: str = "cpu"
    threads: int = 1

    @property
    def reduced(self) -> str:
        """In what the run is less than the paper's, or ""."""
        less = []
        if self.recipe.epochs < PAPER.epochs:
            less.append(f"{self.recipe.epochs} of {PAPER.epochs} epochs")
        if self.limit is not None:
            less.append(f"at most {self.limit} training cells")
        return ", ".join(less)


@dataclass(frozen=True, slots=True)
class TableCell:
    """One run of the table."""

    network: str
    loss: Loss
    start: Start
    protocol: Protocol
    seed: int

    @property
    def name(self) -> str:
        """As tables call the system: cross-entropy is marked."""
        return self.network if self.loss == "focal" else f"{self.network} (cross-entropy)"

    @property
    def key(self) -> str:
        """File name without its suffix."""
        loss = "" if self.loss == "focal" else "-ce"
        return f"{self.network}{loss}--{self.start}--{self.protocol}--seed{self.seed}"


def parse_networks(words: str) -> tuple[str, ...]:
    """`all` or names with commas.

    Raises:
        UsageError: an unknown name.
    """
    return _parse(words, tuple(ARCHITECTURES), "--networks")


def parse_protocols(words: str) -> tuple[Protocol, ...]:
    """`tad`, `tvad` or both with a comma.

    Raises:
        UsageError: an unknown name.
    """
    named = _parse(words, tuple(PROTOCOLS), "--protocols")
    return tuple(protocol for protocol in PROTOCOLS if protocol in named)


def _parse(words: str, known: Sequence[str], option: str) -> tuple[str, ...]:
    names = list(dict.fromkeys(word.strip().lower() for word in words.split(",") if word.strip()))
    if names == ["all"]:
        return tuple(known)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise UsageError(
            f"{option} {words}: {unknown[0] if unknown else 'nothing'} is not known.",
            f"Give all, or names of: {', '.join(known)}.",
        )
    return tuple(names)


def table_cells(settings: Settings, has_weights: Callable[[str], bool]) -> list[TableCell]:
    """All runs of a table, the cheapest networks first, each network with all its protocols and seeds in turn.

    Args:
        has_weights: whether backbone weights fit the network of this name.

    Raises:
        UsageError: weights were asked for and fit no network.
    """
    costs: dict[str, Cost] = {name: cost_of(name) for name in settings.networks}
    order = sorted(settings.networks, key=lambda name: costs[name].flop)
    cells = []
    for network in order:
        losses: tuple[Loss, ...] = ("focal", "cross_entropy") if network == METHOD else ("focal",)
        for start in _starts(settings.starts, has_weights(network)):
            for loss in losses:
                for seed in range(1, settings.seeds + 1):
                    cells += [TableCell(network, loss, start, protocol, seed) for protocol in settings.protocols]
    if not cells:
        raise UsageError("No file of --init fits any of the networks.", "Give others, or --start scratch.")
    return cells


def _starts(wanted: Starts, has_weights: bool) -> tuple[Start, ...]:
    possible: tuple[Start, ...] = ("weights", "scratch") if has_weights else ("scratch",)
    return tuple(start for start in possible if wanted in ("both", start))


def settings_digest(settings: Settings, cell: TableCell, data_digest: str, weights_digest: str) -> str:
    """Known by this: everything that decides one run's figures and times; 32 hex digits.

    Args:
        weights_digest: of the file that the run starts from; "" from scratch.
    """
    used = settings.recipe.model_dump(mode="json")
    facts = {
        "rules": RULES,
        "cell": cell.key,
        "data": data_digest,
        "weights": weights_digest,
        "recipe": {name: used[name] for name in RECIPE_FIELDS},
        "limit": settings.limit,
        "prevalence": settings.prevalence,
        "device": settings.device.split(":")[0],
        "threads": settings.threads,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
