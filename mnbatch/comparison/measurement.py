"""One cell of the table: a network is built from backbone weights, trained, tested, and its figures kept."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from mnbatch.comparison.comparison_settings import Loss, Settings, Start, TableCell
from mnbatch.comparison.data_split import Cells
from mnbatch.comparison.paper_training import VALIDATION, Fitted, Pixels, fit, timed_scores
from mnbatch.comparison.protocols import Plan
from mnbatch.errors import TrainingError
from mnbatch.evaluation.metrics import Labels, Scores
from mnbatch.evaluation.performance import Sample, measure, units_of
from mnbatch.networks import ARCHITECTURES
from mnbatch.networks.cost import count_flops, count_parameters
from mnbatch.networks.network import Network
from mnbatch.training.initial_weights import read_state

# Files of backbone weights, and which network each of them fits.


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


# One cell of the table: a network is built, trained, tested, and its figures kept.


THRESHOLD = 0.5
"""A cell is called MN at p >= 0.5, the larger of the two softmax outputs; the paper states no other rule."""

RESAMPLES = 1000


class Figure(BaseModel):
    """A figure of the test part with its 95 % bootstrap interval; None where it is undefined."""

    model_config = ConfigDict(frozen=True)
    value: float | None
    low: float | None
    high: float | None


class Outcome(BaseModel):
    """What one run of the table came to; one JSON file.

    Attributes:
        digest: of settings, data and weights, see `settings_digest`.
        status: "failed" has a reason and no figures.
        started_from: "scratch", or the file of weights and what it left out.
        flop: a cell; a multiply-add is two.
        cells: part -> cells with and without micronuclei, as trained, validated and tested on.
        figures: AP, F1, AUC and more of the test part; `interval` says how their intervals were made.
        confusion: true_positive, false_negative, true_negative, false_positive at p >= 0.5.
        train_seconds: of all epochs without validation, for `trained_cells` cells (an epoch's, times epochs).
        test_seconds: of the test part, for `tested_cells` cells, the making of the input included.
        history: number, loss, validation AUC and seconds of each epoch.
        scores, labels: of the test part, in the order of the data.
        clusters: number of the donor or slide of each cell of the test part, for resampling; empty where none has one.
    """

    model_config = ConfigDict(frozen=True)
    digest: str
    network: str
    loss: Loss
    start: Start
    protocol: Literal["tad", "tvad"]
    seed: int
    status: Literal["done", "failed"]
    reason: str = ""
    started_from: str = ""
    device: str = ""
    torch: str = torch.__version__
    parameters: int | None = None
    flop: int | None = None
    cells: dict[str, tuple[int, int]] = {}
    figures: dict[str, Figure] = {}
    interval: str = ""
    confusion: dict[str, int] = {}
    best_epoch: int | None = None
    train_seconds: float | None = None
    trained_cells: int | None = None
    test_seconds: float | None = None
    tested_cells: int | None = None
    history: tuple[dict[str, float], ...] = ()
    scores: tuple[float, ...] = ()
    labels: tuple[bool, ...] = ()
    clusters: tuple[int, ...] = ()

    @property
    def cell(self) -> TableCell:
        """Which run of the table this is."""
        return TableCell(self.network, self.loss, self.start, self.protocol, self.seed)


def measured(
    cell: TableCell,
    settings: Settings,
    digest: str,
    data: Cells,
    plan: Plan,
    pixels: Pixels,
    weights: Weights | None,
    say: Callable[[str], None],
) -> Outcome:
    """Run one cell of the table; a run that diverges or needs too much memory is an outcome, too."""
    about = {name: getattr(cell, name) for name in ("network", "loss", "start", "protocol", "seed")}
    about |= {"digest": digest, "device": _device_name(settings)}
    try:
        return Outcome.model_validate(
            {
                **about,
                "status": "done",
                **_facts(cell=cell, settings=settings, data=data, plan=plan, pixels=pixels, weights=weights, say=say),
            }
        )
    except TrainingError as error:
        return Outcome.model_validate({**about, "status": "failed", "reason": str(error)})
    except (MemoryError, RuntimeError) as error:
        reason = _memory_reason(error)
        if reason is None:
            raise
        return Outcome.model_validate({**about, "status": "failed", "reason": reason})


def _memory_reason(error: Exception) -> str | None:
    """Torch says "out of memory" on a GPU and "can't allocate memory" on a CPU; None where it is something else."""
    words = str(error).lower()
    if (
        isinstance(error, MemoryError | torch.OutOfMemoryError)
        or "allocate memory" in words
        or "out of memory" in words
    ):
        return "out of memory: lower --minibatch, or use a larger device"
    return None


def _facts(
    cell: TableCell,
    settings: Settings,
    data: Cells,
    plan: Plan,
    pixels: Pixels,
    weights: Weights | None,
    say: Callable[[str], None],
) -> dict[str, object]:
    device = torch.device(settings.device)
    network, started_from = built(cell.network, cell.seed, weights)
    size = {"parameters": count_parameters(network), "flop": count_flops(network)}
    recipe = settings.recipe.model_copy(update={"loss": cell.loss})
    fitted = fit(
        network=network,
        pixels=pixels,
        training=plan.training,
        validation=plan.validation,
        recipe=recipe,
        seed=cell.seed,
        device=device,
        say=say,
    )
    scores, seconds = timed_scores(fitted.network, pixels, plan.test, device)
    return {
        **size,
        "started_from": started_from,
        "cells": {part: getattr(plan, part).counts() for part in ("training", "validation", "test")},
        **_training_facts(fitted, len(plan.training.labels)),
        **_test_facts(scores, plan.test.labels, settings, data, plan),
        "test_seconds": seconds,
        "tested_cells": len(plan.test.labels),
    }


def _training_facts(fitted: Fitted, cells: int) -> dict[str, object]:
    history = [
        {"epoch": e.number, "loss": e.loss, "validation_auc": e.aucs[VALIDATION], "seconds": round(e.learning, 3)}
        for e in fitted.epochs
    ]
    return {
        "best_epoch": fitted.best,
        "history": history,
        "train_seconds": sum(epoch.learning for epoch in fitted.epochs),
        "trained_cells": cells * len(fitted.epochs),
    }


def _test_facts(scores: Scores, labels: Labels, settings: Settings, data: Cells, plan: Plan) -> dict[str, object]:
    units = units_of([data.people.names[place] for place in plan.test.places], "donor or slide")
    sample = Sample(scores, labels, scores >= THRESHOLD, units)
    found = measure(sample, prevalence=settings.prevalence, resamples=RESAMPLES, seed=1)
    figures = {
        figure.name if figure.prevalence is None else f"{figure.name}_at_prevalence": {
            "value": figure.value,
            "low": figure.low,
            "high": figure.high,
        }
        for figure in found.figures
    }
    counts = found.confusion
    return {
        "figures": figures,
        "interval": f"{units.method}. {units.warning}".strip(" ."),
        "confusion": {
            name: getattr(counts, name)
            for name in ("true_positive", "false_negative", "true_negative", "false_positive")
        },
        "scores": [round(float(score), 7) for score in scores],
        "labels": [bool(label) for label in labels],
        "clusters": [] if units.index is None else [int(number) for number in units.index],
    }


def _device_name(settings: Settings) -> str:
    if settings.device == "cpu":
        return f"CPU, {settings.threads} thread{'s' if settings.threads > 1 else ''}"
    return torch.cuda.get_device_name(torch.device(settings.device))
