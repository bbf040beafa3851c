"""Leave-one-group-out: how a recipe does on a slide, donor or data set that it has not seen, and how it varies.

One validation set of a hundred cells says little about which recipe is better. Here every group is held out in turn;
the held-out cells choose nothing (no epoch, no threshold): the averaged weights after the last epoch are scored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass, fields

import numpy as np
from torch import nn

from mnbatch.csvfile import csv_bytes, shown
from mnbatch.errors import TrainingError
from mnbatch.evaluation.labelled_cells import LabelledCell, load_crops, told_cells
from mnbatch.evaluation.metrics import Labels, Scores, auc, bootstrap
from mnbatch.evaluation.missing_colour import training_colour_note
from mnbatch.evaluation.people import people_of
from mnbatch.files import write_files
from mnbatch.inference.card import View
from mnbatch.inference.classifier import pick_device
from mnbatch.intake import read_json
from mnbatch.training.augmentation import normalise_for
from mnbatch.training.held_out_groups import tell_people
from mnbatch.training.initial_weights import started
from mnbatch.training.pool_feed import Pool, pool_trainer, score
from mnbatch.training.recipe import Recipe
from mnbatch.training.synthetic_cells import Preparer
from mnbatch.training.training_loop import Trained
from mnbatch.training.training_pools import Labelled, PoolMaker
from mnbatch.training.training_request import Request
from mnbatch.training.training_run import preparation_of
from mnbatch.training.training_state import Epoch

STATE = "cross_validation.json"
"""What is held out of what, and the groups that are finished; `cross_validation.csv` is its folds as a table."""

VIEWS: dict[str, Sequence[View]] = {
    "one pass": (),
    "four quarter turns": (View(quarter_turns=1), View(quarter_turns=2), View(quarter_turns=3)),
    "plain and 1.25 x zoom": (View(zoom=1.25),),
}
"""Ways to score a cell that are compared, by the looks besides the first; the logits of all looks are averaged."""


@dataclass(frozen=True, slots=True)
class Fold:
    """One group held out, scored one way.

    Attributes:
        group: the donor (else slide) that was held out, all spellings (`D1 and d1`) where some read the same.
        views: how it was scored (`VIEWS`).
        n, n_mn: its cells, and those with a micronucleus.
        auc, low, high: with the 95 % bootstrap interval over cells; nan where the group has one class only.
    """

    group: str
    views: str
    n: int
    n_mn: int
    auc: float
    low: float
    high: float


def cross_validate(request: Request, recipe: Recipe, say: Callable[[str], None]) -> list[Fold]:
    """Hold out every group of the labels (donor, else slide) in turn; tables are written to `request.out`.

    Donors (slides) whose names read the same are one group: of one person, cells on both sides would flatter the AUC.
    A group that an earlier, interrupted call has finished is not trained again.

    Raises:
        TrainingError: fewer than two groups, a folder that holds the cross-validation of something else, or training
            data that cannot give a model.
        UsageError: a device that is not there.
    """
    pick_device(request.device)
    cells = told_cells(request.data, say, request.options)
    tell_people(cells, say)
    names = people_of(cells).names
    groups = sorted(set(names))
    if len(groups) < 2 or "" in groups:
        raise TrainingError(
            f"{request.data} does not say for every cell of which donor or slide it is ({len(groups)} groups).",
            "Give a CSV with a column donor or slide; two groups at least are needed.",
        )
    described = _description(request, recipe, cells, names)
    folds = _finished(request, described)
    run = _Folds(request, recipe, say)
    for number, group in enumerate(groups, start=1):
        say(f"group {number}/{len(groups)}: {group}")
        if group in {fold.group for fold in folds}:
            continue
        rest, held_out = (
            [cell for cell, name in zip(cells, names, strict=True) if (name == group) == held] for held in (False, True)
        )
        folds += run.fold(group, rest, held_out)
        _keep(request, described, folds)
    return folds


def spread(folds: Sequence[Fold], views: str) -> tuple[float, float, float]:
    """Mean, smallest and largest AUC over the groups (groups with one class left out), for one way of scoring."""
    values = [fold.auc for fold in folds if fold.views == views and not np.isnan(fold.auc)]
    return float(np.mean(values)), min(values), max(values)


class _Folds:
    def __init__(self, request: Request, recipe: Recipe, say: Callable[[str], None]) -> None:
        self.request, self.recipe, self.say = request, recipe, say
        self.preparation = preparation_of(recipe)
        preparer = Preparer(self.preparation, recipe.colour_shares)
        self.preparer = preparer
        self.maker = PoolMaker(
            recipe=recipe,
            sources=request.sources,
            preparer=preparer,
            seed=request.seed,
            workers=request.workers,
            say=say,
        )

    def fold(self, group: str, rest: Sequence[LabelledCell], held_out: Sequence[LabelledCell]) -> list[Fold]:
        crops, labels = load_crops(held_out, self.preparation)
        if grey := training_colour_note(list(crops), self.preparation):
            self.say(f"  warning: of {group}, {grey}")
        pixels = np.stack([self.preparer.crop(crop) for crop in crops])
        watched = [Pool("held out", pixels, labels)] if 0 < labels.sum() < len(labels) else []
        network = self._trained(Labelled(*load_crops(rest, self.preparation)), watched)
        device, to_input = pick_device(self.request.device), normalise_for(network, self.recipe.coloured)
        return [
            _fold(group, name, score(network, pixels, to_input, device, views), labels) for name, views in VIEWS.items()
        ]

    def _trained(self, own: Labelled, watched: list[Pool]) -> nn.Module:
        request, recipe = self.request, self.recipe
        network, _ = started(request.network, request.init, request.seed, recipe.colour_shares, recipe.coloured)

        def report(epoch: Epoch, so_far: Trained) -> None:
            held = ", ".join(f"{value:.3f}" for value in epoch.aucs.values())
            self.say(f"  epoch {epoch.number}/{recipe.epochs}: loss {epoch.loss:.4f}, held out {held}")

        device = pick_device(request.device)
        pools, to_input = self.maker.training(own), normalise_for(network, recipe.coloured)
        trainer = pool_trainer(
            network=network,
            training=pools,
            validation=watched,
            recipe=recipe,
            to_input=to_input,
            seed=request.seed,
            device=device,
            report=report,
        )
        trainer.run()
        averaged: nn.Module = trainer.averaged
        return averaged.eval()


def _fold(group: str, views: str, scores: Scores, labels: Labels) -> Fold:
    if labels.all() or not labels.any():
        return Fold(group, views, len(labels), int(labels.sum()), *(float("nan"),) * 3)
    estimate = bootstrap(auc, scores, labels)
    return Fold(
        group=group,
        views=views,
        n=len(labels),
        n_mn=int(labels.sum()),
        auc=estimate.value,
        low=estimate.low,
        high=estimate.high,
    )


def _keep(request: Request, described: dict[str, object], folds: Sequence[Fold]) -> None:
    state = {"of": described, "folds": [asdict(fold) for fold in folds]}
    table = csv_bytes([field.name for field in fields(Fold)], (astuple(fold) for fold in folds), text=shown, mark=True)
    write_files(request.out, {"cross_validation.csv": table, STATE: json.dumps(state, indent=1).encode()})


def _description(
    request: Request, recipe: Recipe, cells: Sequence[LabelledCell], names: Sequence[str]
) -> dict[str, object]:
    return {
        "recipe": recipe.model_dump(mode="json"),
        "init": request.init,
        "seed": request.seed,
        "cells": sorted([cell.path.name, cell.has_mn, name] for cell, name in zip(cells, names, strict=True)),
    }


def _finished(request: Request, described: dict[str, object]) -> list[Fold]:
    """Folds that lie in `request.out`, if they are of this cross-validation."""
    if not (request.out / STATE).is_file():
        return []
    try:
        state = read_json(request.out / STATE)
        known, folds = state["of"], [Fold(**fold) for fold in state["folds"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{request.out / STATE} cannot be read.", "Give another --out.") from error
    if known != described:
        raise TrainingError(
            f"{request.out} holds the cross-validation of other cells or another recipe.", "Give another --out."
        )
    return folds
