"""A laboratory's own model: fine-tuned on its reviewed cells, and written only where it is better by a paired test.

Every slide (or donor) is held out in turn: the new model is judged on cells of slides that it has not seen, the old one
on the same cells. Synthetic cells of the same stain are in every minibatch, so that nothing is unlearned.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import JsonValue
from torch import Tensor, nn

from mnbatch.assay.cells import UInt8Array
from mnbatch.errors import StorageError, TrainingError
from mnbatch.evaluation.labelled_cells import LabelledCell, content_of, load_crops, told_cells
from mnbatch.evaluation.metrics import (
    Labels,
    Scores,
    auc,
    bootstrap,
    with_temperature,
    youden_of_weighted,
)
from mnbatch.evaluation.missing_colour import training_colour_note
from mnbatch.evaluation.paired_tests import DeLong, delong
from mnbatch.evaluation.people import people_of
from mnbatch.files import storage_errors, temporary_name, write_files
from mnbatch.imaging.preparation import Preparation
from mnbatch.inference.card import ModelCard
from mnbatch.inference.catalogue import VerifiedModel
from mnbatch.inference.classifier import pick_device
from mnbatch.inference.model_directory import write_model_directory
from mnbatch.intake import read_json
from mnbatch.training.augmentation import normalise_for
from mnbatch.training.card_writing import card_fields, check_card_words
from mnbatch.training.held_out_groups import people_or_slides
from mnbatch.training.initial_weights import started, tied_shares
from mnbatch.training.kept_folder import KeptFolder, folder_beside
from mnbatch.training.pool_feed import Pool, pool_trainer, score
from mnbatch.training.recipe import Recipe
from mnbatch.training.synthetic_cells import Preparer
from mnbatch.training.training_loop import Trained
from mnbatch.training.training_pools import Labelled, PoolMaker, Sources, labelled_pool
from mnbatch.training.training_request import Request
from mnbatch.training.training_run import Clock, finished_network, precision, preparation_of
from mnbatch.training.training_state import Epoch, mean_of

FEWEST_CELLS = 30
FEWEST_OF_A_CLASS = 5
FOLDS = 5
ALPHA = 0.05
"""Of the paired test, two-sided."""

TRIAL_BYTES = 1 << 16
"""Written beside the model before anything is learned, and removed."""
STATE = "adaptation.json"
"""Beside the model: the held-out scores of the folds that are done."""


def _is_kept_in(folder: Path) -> bool:
    try:
        state = read_json(folder / STATE)
    except (OSError, ValueError):
        return False
    return isinstance(state, dict) and state.keys() == {"of", "folds"}


KEPT = KeptFolder("adapt", re.compile(re.escape(STATE)), _is_kept_in)

ADAPTING: dict[str, Any] = {
    "epochs": 3,
    "cells_per_epoch": 600,
    "minibatch": 32,
    "learning_rate": 1e-4,
    "head_factor": 2.0,
    "averaging": 0.95,
    "labelled": 0.5,
    "dressed": 0.0,
    "composite": 0.0,
    "smear": 0.0,
    "simulated": 0.2,
    "hard": 0.3,
    "with_mn": 0.45,
    "fresh": 0,
    "synthetic_cells": 500,
    "specificity_weight": 4.0,
}
"""Short, and at a low rate: the network knows the task. Half of each minibatch is synthetic (the ballast)."""


KEPT_OF_OLD = 0.5
"""Share of the old weights in the new ones (Wortsman et al. 2022). The ballast is made of simulated cells: without this
what the old model had learned from other real cells fades (docs/training.md)."""


def between(old: Mapping[str, Tensor], network: nn.Module, share: float) -> nn.Module:
    """The network, its weights replaced by the mean of them and old ones of the same names.

    Args:
        old: on any device; share: of them in the mean, 0..1. Integers (counters of minibatches) stay the network's.
    """
    trained = network.state_dict()
    shares = (1 - share, share)
    network.load_state_dict({name: mean_of((new, old[name].to(new.device)), shares) for name, new in trained.items()})
    return network


@dataclass(frozen=True, slots=True)
class AdaptRequest:
    """What a person asked for.

    Attributes:
        data: labels.csv as `mnbatch review export` writes it.
        base: the model that scored these cells; stain: of them.
        out: model directory to write.
        name, version, licence, data_licence: for the card.
        seed: of everything that is drawn; workers: processes that draw synthetic cells; threads, device: of torch.
        changes: fields of the recipe that differ from `ADAPTING`.
    """

    data: Path
    base: VerifiedModel
    stain: str
    out: Path
    name: str
    version: str = "1"
    licence: str = "not stated"
    data_licence: str = ""
    seed: int = 1
    workers: int = 1
    threads: int = 0
    device: str = "auto"
    changes: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Figures:
    """One model on the laboratory's cells.

    Attributes:
        auc, low, high: with the 95 % bootstrap interval over cells.
        specificity: at the sensitivity 0.9, each cell weighted by 1 / its chance to be reviewed.
    """

    auc: float
    low: float
    high: float
    specificity: float


@dataclass(frozen=True, slots=True)
class Adapted:
    """How old and new compare on held-out cells.

    Attributes:
        cells, with_mn, groups: what was learned from; grouped_by: "donor", "slide", or "donor or slide".
        old, new: figures on the same cells; new ones are of models that had not seen the cell's group.
        test: DeLong's, new against old.
        card: of the model that was written; None where the new one is not better.
    """

    cells: int
    with_mn: int
    groups: int
    grouped_by: str
    old: Figures
    new: Figures
    test: DeLong
    card: ModelCard | None

    @property
    def groups_word(self) -> str:
        """What the groups are, in the plural."""
        return in_plural(self.grouped_by)

    @property
    def better(self) -> bool:
        """Whether the new model has the larger AUC, with a two-sided p-value below `ALPHA`."""
        return self.test.difference > 0 and self.test.p_value < ALPHA


def in_plural(kind: str) -> str:
    """Several of a kind of group: `donors or slides`."""
    return " or ".join(f"{word}s" for word in kind.split(" or "))


def adapt(request: AdaptRequest, say: Callable[[str], None]) -> Adapted:
    """Fine-tune, judge by cross-validation, and write the model if it is better.

    Folds that an earlier call of the same adaptation has finished are not trained again.

    Raises:
        TrainingError: cells that nothing can be learned from, or a model that cannot be trained further.
        StorageError: `out` is there already, the folder beside it is of something else, or a file cannot be read or
            written.
        UsageError: a device that is not there, or a name that no card may have.
    """
    device = pick_device(request.device)
    check_card_words(request.name, request.version, request.licence)
    if request.out.exists() and (not request.out.is_dir() or any(request.out.iterdir())):
        raise StorageError(f"{request.out} exists already.", "Choose a new directory; nothing is written over.")
    KEPT.check(folder_beside(request.out))
    check_place(folder_beside(request.out))
    cells = told_cells(request.data, say)
    grouped_by = check_cells(cells)
    for note in people_or_slides(cells).notes:
        say(f"warning: {note}")
    folds = divide(cells, request.seed)
    recipe = recipe_for(request.base.card, request.stain, _shares(request.base), request.changes)
    if request.threads:
        torch.set_num_threads(request.threads)
    run = _Run(request, recipe, device, cells, say)
    if run.colour_note:
        say(f"warning: {run.colour_note}")
    say(
        f"{len(cells)} cells ({int(run.own.labels.sum())} with micronuclei) of {len(set(groups_of(cells)))} "
        f"{in_plural(grouped_by)}, {max(folds) + 1} folds; computing in {precision(recipe, device)}"
    )
    held_out = run.held_out_scores(folds)
    old = run.old_scores()
    test = delong(held_out, old, run.own.labels)
    weights = np.array([1 / cell.chance for cell in cells])
    figures = [figures_of(scores, run.own.labels, weights) for scores in (old, held_out)]
    result = Adapted(
        cells=len(cells),
        with_mn=int(run.own.labels.sum()),
        groups=len(set(groups_of(cells))),
        grouped_by=grouped_by,
        old=figures[0],
        new=figures[1],
        test=test,
        card=None,
    )
    if result.better:
        result = replace(result, card=run.written(held_out, weights, result))
    KEPT.remove(run.folder)
    return result


def check_place(folder: Path) -> None:
    """Whether a folder can be made and written; nothing of the trial is left behind.

    Raises:
        StorageError: it cannot.
    """
    made: list[Path] = []
    with storage_errors(folder):
        try:
            for place in reversed([place for place in (folder, *folder.parents) if not place.exists()]):
                place.mkdir()
                made.append(place)
            trial = temporary_name(folder)
            try:
                trial.write_bytes(bytes(TRIAL_BYTES))
            finally:
                trial.unlink(missing_ok=True)
        finally:
            for place in reversed(made):
                with contextlib.suppress(OSError):
                    place.rmdir()


def check_cells(cells: Sequence[LabelledCell]) -> str:
    """What cells are held out by: "donor", "slide", or, where some slides have no donor, "donor or slide".

    Raises:
        TrainingError: too few cells, too few of a class, or one slide only.
    """
    if len(cells) < FEWEST_CELLS:
        raise TrainingError(
            f"{len(cells)} reviewed cells are too few to learn from.", f"Review {FEWEST_CELLS} at least."
        )
    with_mn = sum(cell.has_mn for cell in cells)
    for number, word in ((with_mn, "with"), (len(cells) - with_mn, "without")):
        if number < FEWEST_OF_A_CLASS:
            raise TrainingError(
                f"{number} of {len(cells)} reviewed cells are {word} micronuclei: too few to learn from.",
                f"Review more cells; {FEWEST_OF_A_CLASS} of each class are needed.",
            )
    people = people_or_slides(cells)
    if "" in people.names:
        raise TrainingError("Some cells have neither donor nor slide.", "Fill in the column slide.")
    if people.count < 2:
        raise TrainingError(
            f"All cells are of one slide ({people.names[0]}), so nothing says how the new model does on another one.",
            "Review cells of two slides at least.",
        )
    return people.kind


def groups_of(cells: Sequence[LabelledCell]) -> list[str]:
    """What is held out together: the donor where one is known, the slide of the rest; slides of a single donor.

    A person on both sides of a fold would flatter the new model.
    """
    return list(people_or_slides(cells).names)


def divide(cells: Sequence[LabelledCell], seed: int) -> list[int]:
    """The fold of each cell, whole groups, at most `FOLDS`, about alike in cells with micronuclei and without.

    Raises:
        TrainingError: without one of the groups a class is gone, so nothing could be learned.
    """
    names = groups_of(cells)
    sizes: dict[str, Counter[bool]] = defaultdict(Counter)
    for name, cell in zip(names, cells, strict=True):
        sizes[name][cell.has_mn] += 1
    rng = np.random.default_rng(seed)
    order = sorted(sorted(sizes), key=lambda name: (-sizes[name][True], rng.random()))
    folds: dict[str, int] = {}
    filled = [Counter[bool]() for _ in range(min(FOLDS, len(order)))]
    for name in order:
        place = min(range(len(filled)), key=lambda i: (filled[i][True], filled[i].total()))
        folds[name] = place
        filled[place] += sizes[name]
    total = sum(filled, Counter[bool]())
    for part in filled:
        if min(total[label] - part[label] for label in (True, False)) < 1:
            raise TrainingError(
                "All cells of one class are of one donor or slide, so a model cannot be judged on another one.",
                "Review cells with and without micronuclei on two slides at least.",
            )
    return [folds[name] for name in names]


def recipe_for(
    card: ModelCard,
    stain: str,
    shares: tuple[float, float, float] | None = None,
    changes: Sequence[tuple[str, Any]] = (),
) -> Recipe:
    """The recipe that trains a model's network further, with its own preparation.

    Args:
        shares: the mixture of colours that the network sees, see `tied_shares`; changes: fields that differ.

    Raises:
        TrainingError: the card's preparation is none that a training can make.
    """
    wanted = card.preparation
    stained = 1.0 if stain == "giemsa" else 0.0
    recipe = Recipe(
        **ADAPTING,
        size=wanted.size,
        polarity=wanted.polarity,
        contrast=wanted.contrast.rule,
        zoom=wanted.zoom.rule,
        zoom_below=wanted.zoom.smallest,
        zoom_to=wanted.zoom.wanted,
        colour_shares=shares,
        stained=stained,
        stained_composites=stained,
    ).model_copy(update=dict(changes))
    if preparation_of(recipe) != wanted:
        raise TrainingError(
            f"{card.name} {card.version} prepares its crops as no training does, so it cannot be trained further.",
            "Adapt a model that `mnbatch train` wrote.",
        )
    return recipe


def _shares(base: VerifiedModel) -> tuple[float, float, float] | None:
    """The mixture of colours that the model's network sees; None where it tells them apart."""
    network, _ = started(base.card.architecture, str(base.path / "model.safetensors"), 0, None)
    return tied_shares(network)


def figures_of(scores: Scores, labels: Labels, weights: Scores) -> Figures:
    """AUC with interval, and weighted specificity at a sensitivity of 0.9."""
    estimate = bootstrap(auc, scores, labels)
    threshold = float(np.quantile(scores[labels], 0.1))
    free = ~labels
    kept = float((weights[free] * (scores[free] < threshold)).sum() / weights[free].sum())
    return Figures(estimate.value, estimate.low, estimate.high, kept)


class _Run:
    """One adaptation: the crops, the ballast, and what is kept of the folds."""

    def __init__(
        self,
        request: AdaptRequest,
        recipe: Recipe,
        device: torch.device,
        cells: Sequence[LabelledCell],
        say: Callable[[str], None],
    ) -> None:
        self.request, self.recipe, self.device, self.cells, self.say = request, recipe, device, cells, say
        self.folder = folder_beside(request.out)
        self.preparation: Preparation = preparation_of(recipe)
        self.preparer = Preparer(self.preparation, recipe.colour_shares)
        self.own = Labelled(*load_crops(cells, self.preparation))
        self.colour_note = training_colour_note(list(self.own.crops), self.preparation)
        self.pool = labelled_pool("labelled", self.own.crops, self.own.labels, self.preparer, recipe.labelled)
        self.maker = PoolMaker(
            recipe=recipe,
            sources=Sources(),
            preparer=self.preparer,
            seed=request.seed,
            workers=request.workers,
            say=say,
        )
        self._ballast: list[Pool] = []

    def held_out_scores(self, folds: Sequence[int]) -> Scores:
        """Of every cell the score of the network that had not seen its group, untempered."""
        described = self._described(folds)
        kept = self._kept(described)
        scores = np.full(len(self.cells), np.nan)
        places = np.array(folds)
        for fold in range(places.max() + 1):
            chosen = places == fold
            if str(fold) not in kept:
                self.say(f"fold {fold + 1}/{places.max() + 1}")
                network = self._trained(~chosen, f"fold {fold + 1}").network
                kept[str(fold)] = self._scores(network, self.pool.pixels[chosen]).tolist()
                self._keep(described, kept)
            scores[chosen] = kept[str(fold)]
        return scores

    def old_scores(self) -> Scores:
        """Of every cell the score of the model that is adapted, untempered."""
        return self._scores(self._base().to(self.device), self.pool.pixels)

    def _scores(self, network: nn.Module, pixels: UInt8Array) -> Scores:
        """In all looks of the model that is adapted, whatever the first says: both models are judged alike."""
        second_look = self.request.base.card.second_look
        return score(network, pixels, self._input(network), self.device, second_look.views if second_look else ())

    def written(self, held_out: Scores, weights: Scores, result: Adapted) -> ModelCard:
        """Train on all cells and write the model directory."""
        self.say("training on all cells")
        trained = self._trained(np.ones(len(self.cells), bool), "all cells")
        hard = next(pool for pool in self.maker.validation(self.own) if pool.name == "hard")
        normalise = normalise_for(trained.network, self.recipe.coloured)
        made = self._scores(trained.network, hard.pixels)
        request = self._request()
        validation = [self.pool, hard]
        fields = card_fields(
            request=request,
            recipe=self.recipe,
            preparation=self.preparation,
            training=[self.pool, *self._ballast],
            validation=validation,
            stains=[self.request.stain],
            scores={"labelled": held_out, "hard": made},
            trained=trained,
            started_from=f"all weights of {self.request.base.card.name} {self.request.base.card.version}",
            normalisation=(normalise.mean, normalise.std),
            labelled_stains=(),
        )
        temperature = float(str(fields["temperature"]))
        sets = [
            (with_temperature(held_out, temperature), self.own.labels, weights),
            (with_temperature(made, temperature), hard.labels, np.ones(len(made))),
        ]
        threshold = round(youden_of_weighted(sets, self.recipe.specificity_weight), 4)
        fields |= {
            "threshold": threshold,
            "threshold_rule": (
                f"largest mean of sensitivity + {self.recipe.specificity_weight:g} x specificity over the reviewed "
                f"cells ({len(self.cells)}, held out, weighted by 1 / inclusion probability) and {len(made)} hard "
                "synthetic cells"
            ),
        }
        if second_look := self.request.base.card.second_look:
            from_score = min(second_look.from_score, threshold)
            fields["second_look"] = second_look.model_copy(update={"from_score": from_score})
        recipe = dict(fields["recipe"]) if isinstance(fields["recipe"], dict) else {}
        recipe["adapted"] = self._account(with_temperature(held_out, temperature), threshold, weights, result)
        fields["recipe"] = recipe
        return write_model_directory(self.request.out, finished_network(trained.network, self.recipe), fields)

    def _account(self, scores: Scores, threshold: float, weights: Scores, result: Adapted) -> dict[str, JsonValue]:
        """What the card says of old and new, and of every slide of the laboratory."""
        base, test = self.request.base, result.test
        return {
            "from": f"{base.card.name} {base.card.version}",
            "from_digest": base.digest,
            "cells": result.cells,
            "with_mn": result.with_mn,
            "held_out_by": result.grouped_by,
            "kept_of_old_weights": KEPT_OF_OLD,
            "old": _rounded(result.old),
            "new": _rounded(result.new),
            "difference": round(test.difference, 4),
            "difference_low": round(test.low, 4),
            "difference_high": round(test.high, 4),
            "p_value": round(test.p_value, 6),
            "slides": rates_of_slides(self.cells, scores, threshold, weights),
        }

    def _request(self) -> Request:
        asked = self.request
        note = (
            f"Adapted to one laboratory's {asked.stain} slides from its review. Figures of the reviewed cells are not "
            "those of whole slides: cells were chosen by their scores. The card states no rates, so reports correct "
            "no count by it; give scored cells of your own (`mnbatch report --validation`)."
        )
        return Request(
            data=asked.data,
            out=asked.out,
            name=asked.name,
            version=asked.version,
            licence=asked.licence,
            data_licence=asked.data_licence,
            note=f"{note} {self.colour_note}".strip(),
            crop_width=asked.base.card.scale.crop_width_in_nucleus_diameters,
            serves=(asked.stain,),
            seed=asked.seed,
            network=asked.base.card.architecture,
        )

    def _base(self) -> nn.Module:
        card, recipe = self.request.base.card, self.recipe
        weights = str(self.request.base.path / "model.safetensors")
        network, _ = started(card.architecture, weights, self.request.seed, recipe.colour_shares, recipe.coloured)
        return network

    def _trained(self, chosen: Labels, what: str) -> Trained:
        """Half-way from the old weights to those that a training on the chosen cells and the ballast ends with."""
        if not self._ballast:
            self._ballast = [pool for pool in self.maker.training(self.own) if pool.name != "labelled"]
        own = replace(self.pool, pixels=self.pool.pixels[chosen], labels=self.pool.labels[chosen])
        network = self._base()
        old = copy.deepcopy(network.state_dict())
        clock = Clock(self.recipe, self.say, every=60.0)

        def report(epoch: Epoch, _: Trained) -> None:
            self.say(f"  {what}, epoch {epoch.number}/{self.recipe.epochs}: loss {epoch.loss:.4f}")

        def progress(number: int, done: int, seconds: float) -> None:
            clock.due(number, done, seconds)

        trainer = pool_trainer(
            network=network,
            training=[own, *self._ballast],
            validation=[],
            recipe=self.recipe,
            to_input=self._input(network),
            seed=self.request.seed,
            device=self.device,
            report=report,
            progress=progress,
        )
        last = trainer.run()
        averaged: nn.Module = trainer.averaged
        return Trained(between(old, averaged.eval(), KEPT_OF_OLD), last.history[-1], last.history)

    def _input(self, network: nn.Module) -> Any:
        return normalise_for(network, self.recipe.coloured)

    def _described(self, folds: Sequence[int]) -> str:
        """Digest of what decides the held-out scores."""
        told = [
            self.request.base.digest,
            self.recipe.model_dump(mode="json"),
            KEPT_OF_OLD,
            self.request.seed,
            sorted([content_of(cell.path), cell.has_mn, fold] for cell, fold in zip(self.cells, folds, strict=True)),
        ]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def _kept(self, described: str) -> dict[str, list[float]]:
        """Scores of the folds that an earlier call of this adaptation has finished."""
        try:
            state = read_json(self.folder / STATE)
            folds = {fold: [float(p) for p in scores] for fold, scores in state["folds"].items()}
            if state["of"] == described:
                return folds
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}  # nothing that can be used: the folds are trained again
        if folds:
            self.say(
                f"warning: {self.folder} keeps {len(folds)} finished {'fold' if len(folds) == 1 else 'folds'} of "
                "another seed, recipe, model or other cells: they cannot be used here and are replaced when the first "
                "fold is done. To keep them, stop now and choose another --out."
            )
        return {}

    def _keep(self, described: str, kept: dict[str, list[float]]) -> None:
        write_files(self.folder, {STATE: json.dumps({"of": described, "folds": kept}).encode()})


def rates_of_slides(
    cells: Sequence[LabelledCell], scores: Scores, threshold: float, weights: Scores
) -> list[JsonValue]:
    """Sensitivity and specificity of each slide, every cell weighted by 1 / its chance to be reviewed.

    (Horvitz and Thompson, J. Am. Stat. Assoc. 47:663, 1952.) None where a slide has no reviewed cell of the class.
    """
    rows: list[JsonValue] = []
    labels = np.array([cell.has_mn for cell in cells])
    slides = np.array(people_of(cells).slides)
    called = scores >= threshold
    for slide in sorted(set(slides.tolist())):
        here = slides == slide
        rows.append(
            {
                "slide": slide,
                "n": int(here.sum()),
                "n_mn": int(labels[here].sum()),
                "called": int(called[here].sum()),
                "right": int((called & labels)[here].sum()),
                "sensitivity": _share(called, here & labels, weights),
                "specificity": _share(~called, here & ~labels, weights),
            }
        )
    return rows


def _share(right: Labels, among: Labels, weights: Scores) -> float | None:
    return round(float(weights[among & right].sum() / weights[among].sum()), 4) if among.any() else None


def _rounded(figures: Figures) -> dict[str, JsonValue]:
    return {
        "auc": round(figures.auc, 4),
        "auc_low": round(figures.low, 4),
        "auc_high": round(figures.high, 4),
        "specificity_at_sensitivity_0.9": round(figures.specificity, 4),
    }
