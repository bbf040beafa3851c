"""Extends a yes/no model to one that counts, and its card."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from scipy.special import expit

from mnbatch.assay.page_options import NO_OPTIONS, PageOptions
from mnbatch.errors import TrainingError
from mnbatch.evaluation.count_figures import Counted, called_counts, confusion, error_interval, mean_absolute_error
from mnbatch.evaluation.labelled_cells import (
    LabelledCell,
    UInt8Array,
    in_both,
    load_crops,
    people_in_both,
    split_cells,
    told_cells,
)
from mnbatch.inference.card import ModelCard
from mnbatch.inference.model_directory import LoadedModel, load_model, write_model_directory
from mnbatch.inference.network_features import Described, describe, stream_network
from mnbatch.training.counting.counter_fit import PRIOR, Counts, Features, Ratio, fit_ratio, prior_weights
from mnbatch.training.counting.counter_material import Material, Own, Source
from mnbatch.training.held_out_groups import tell_people
from mnbatch.training.training_pools import Sources

# What the card of a counting model says: how the counter was fitted, and how good its counts are.


COUNTS_NOTHING = "It says yes or no for a cell and counts nothing."
COUNTS_ROUGHLY = (
    "Its counts of micronuclei are rough: see the confusion matrices of `counting` before an MN frequency is used."
)
DESCRIPTIONS = {
    "labelled": "labelled crops with counts that were given to the training",
    "dressed": "the labelled fluorescence crops with counts, drawn as stained cells",
    "composite": "composite cells with the number of micronuclei that was drawn",
    "simulated": "cells of the simulator with the number of micronuclei that was drawn",
}


@dataclass(frozen=True, slots=True, eq=False)
class CountedSet:
    """Cells of one source through the network.

    Attributes:
        data: what the card calls the set.
        counts: int (n,), true micronuclei; groups: (n,) what must stay together in cross-validation.
    """

    name: str
    data: str
    described: Described
    counts: Counts
    groups: tuple[str, ...]

    @property
    def by_count(self) -> str:
        """Cells of each number, in words."""
        kinds = np.minimum(self.counts, 3)
        return ", ".join(f"{int((kinds == n).sum())} of {n}{' or more' if n == 3 else ''}" for n in range(4))


def check_counts(card: ModelCard, cells: CountedSet, ratios: Sequence[Ratio], mean: float) -> dict[str, object]:
    """`CountCheck`'s fields for one set.

    Args:
        mean: micronuclei of a training cell with any, 3 for 3 or more.
    """
    called = cells.described.p_mn >= card.threshold
    logits = np.stack([cells.described.vectors @ ratio.weight + ratio.bias for ratio in ratios], axis=1)
    counted = Counted.of(cells.counts, called_counts(called, expit(logits)))
    low, high = error_interval(counted)
    figures = {
        "mean_absolute_error": mean_absolute_error(counted.true, counted.called),
        "ci_low": low,
        "ci_high": high,
        "by_one": mean_absolute_error(counted.true, called.astype(np.int64)),
        "by_mean_count": mean_absolute_error(counted.true, called * mean),
        "mn_per_cell": float(counted.called.mean()),
        "true_mn_per_cell": float(counted.true.mean()),
    }
    rounded = {name: round(value, 4) for name, value in figures.items()}
    return {"data": cells.data, "n": len(counted.true), "confusion": confusion(counted).tolist(), **rounded}


def check_line(check: dict[str, object]) -> str:
    """One line on a check."""
    return (
        f"{check['data']}: error {check['mean_absolute_error']} ({check['ci_low']} to {check['ci_high']}) MN a cell; "
        f"{check['by_one']} if every cell called had one, {check['by_mean_count']} if it had the mean; "
        f"{check['mn_per_cell']} MN a cell called, {check['true_mn_per_cell']} true"
    )


def extended_fields(
    model: LoadedModel,
    sets: Sequence[CountedSet],
    features: Features,
    ratios: Sequence[Ratio],
    checks: Sequence[dict[str, object]],
    settings: dict[str, object],
    licence: str,
) -> dict[str, object]:
    """The model's card with what changes; everything that was measured of its yes or no stays true.

    Args:
        settings: of the fit, for its recipe. licence: of the data.
    """
    card, many = model.card, features.counts >= 3
    kept = card.model_dump(exclude={"schema_version", "weights_sha256", "created", "software", "counting"})
    recipe = {
        "extends": card.counting.recipe.get("extends") if card.counting else _identity(model),
        "fitted": "penalised logistic regression on frozen pooled features, penalty by grouped cross-validation",
        **settings,
        **{f"q{least}": _ratio(ratio) for least, ratio in zip((2, 3), ratios, strict=True)},
    }
    limitations = card.limitations.replace(COUNTS_NOTHING, COUNTS_ROUGHLY)
    return {
        **kept,
        "version": card.version if card.counting else f"{card.version}+counts",
        "endpoint": "mn",
        "counting": {
            "mean_3plus": round(float(np.average(features.counts[many], weights=features.weights[many])), 4),
            "prior": PRIOR,
            "training_data": [_data(part, licence) for part in sets],
            "recipe": recipe,
            "checks": list(checks),
        },
        "limitations": limitations if COUNTS_ROUGHLY in limitations else f"{COUNTS_ROUGHLY} {limitations}",
    }


def _identity(model: LoadedModel) -> dict[str, str]:
    return {"version": model.card.version, "digest": model.digest, "weights_sha256": model.card.weights_sha256}


def _ratio(ratio: Ratio) -> dict[str, float]:
    return {
        "C": ratio.strength,
        "log_loss_cross_validated": round(ratio.log_loss, 4),
        "log_loss_of_a_constant": round(ratio.log_loss_constant, 4),
    }


def _data(part: CountedSet, licence: str) -> dict[str, object]:
    return {
        "name": part.name,
        "description": f"{DESCRIPTIONS[part.name]}; micronuclei: {part.by_count}",
        "n": len(part.counts),
        "n_mn": int((part.counts > 0).sum()),
        "licence": licence if part.name != "simulated" else "made by this program",
    }


# Extends a yes/no model to one that counts: a counter is fitted on its features, everything else stays as it is.


Say = Callable[[str], None]

RATIOS = (2, 3)
"""The ratios of a counter: P(this many or more | one fewer or more)."""


@dataclass(frozen=True, slots=True)
class ExtendRequest:
    """What a person asks of an extension.

    Attributes:
        model: model directory to extend; one that counts gets a new counter.
        data, validation, validation_share: labelled cells with counts, as for a training.
        sources: building blocks of synthetic cells. synthetic_cells: of each synthetic source, 0 for none.
        check_cells: likewise, for the checks; no more than `synthetic_cells`.
        data_licence: for the card. threads: of torch; 0 is its own choice.
        options: what a person said of channels, planes, times, pages and names, as for a run.
    """

    model: Path
    data: Path
    out: Path
    validation: Path | None = None
    validation_share: float = 0.2
    sources: Sources = field(default_factory=Sources)
    synthetic_cells: int = 700
    check_cells: int = 400
    data_licence: str = ""
    seed: int = 1
    threads: int = 0
    options: PageOptions = NO_OPTIONS


def extend_model(request: ExtendRequest, say: Say = lambda line: None) -> ModelCard:
    """Fit a counter on a model's features and write the model that counts.

    Raises:
        ModelError: the model is damaged, or its network cannot count.
        TrainingError: no cells with counts, or too few of a number.
    """
    if request.threads:
        torch.set_num_threads(request.threads)
    model = load_model(request.model)
    stream_network(model)
    training, validation = (_read(cells, model) for cells in counted_cells(request, say))
    material = Material(model.card.preparation, model.card.stains, request.sources, request.seed)
    sets = [_through(model, source, say) for source in material.training(training, request.synthetic_cells)]
    sets = [part for part in sets if part.counts.any()]
    features = _features(sets)
    ratios = [fit_ratio(features, least) for least in RATIOS]
    for least, ratio in zip(RATIOS, ratios, strict=True):
        say(f"P({least} or more | {least - 1} or more): {_losses(ratio)}")
    mean = float(np.average(np.minimum(features.counts, 3), weights=features.weights))
    checks = []
    for source in material.checks(validation, min(request.check_cells, request.synthetic_cells)):
        part = _through(model, source, say)
        if len(part.counts):
            checks.append(check_counts(model.card, part, ratios, mean))
            say(check_line(checks[-1]))
    settings: dict[str, object] = {"seed": request.seed, "synthetic_cells": request.synthetic_cells}
    fields = extended_fields(
        model=model,
        sets=sets,
        features=features,
        ratios=ratios,
        checks=checks,
        settings=settings,
        licence=request.data_licence,
    )
    return write_model_directory(request.out, _with_counter(model, ratios), fields)


def counted_cells(request: ExtendRequest, say: Say) -> tuple[list[LabelledCell], list[LabelledCell]]:
    """Labelled cells to fit on, and held out: the same as in a training with these options.

    Raises:
        TrainingError: as `read_labels`, or no cell has a count.
    """
    cells = told_cells(request.data, say, request.options)
    if request.validation is not None:
        held_out = told_cells(request.validation, say, request.options)
        for flattering in (in_both(cells, held_out), people_in_both(cells, held_out)):
            if flattering:
                say(f"warning: {flattering}")
    else:
        tell_people(cells, say)
        cells, held_out = split_cells(cells, request.validation_share, request.seed)
    for part, where in ((cells, request.data), (held_out, request.validation or request.data)):
        if not any(cell.n_mn for cell in part):
            raise TrainingError(
                f"No cell of {where} has a count of micronuclei.", "Give a CSV with the column mn_count (or n_mn)."
            )
    return cells, held_out


def _read(cells: Sequence[LabelledCell], model: LoadedModel) -> Own:
    return Own(tuple(cells), load_crops(cells, model.card.preparation)[0])


def _through(model: LoadedModel, source: Source, say: Say) -> CountedSet:
    counts: list[int] = []
    groups: list[str] = []

    def crops() -> Iterator[UInt8Array]:
        for crop, n_mn, group in source.cells:
            counts.append(n_mn)
            groups.append(f"{source.name} {group}")
            yield crop

    described = describe(model, crops())
    found = CountedSet(source.name, source.data, described, np.array(counts, np.int64), tuple(groups))
    say(f"{source.data}: {len(counts)} cells; micronuclei: {found.by_count}")
    return found


def _features(sets: Sequence[CountedSet]) -> Features:
    """Cells with micronuclei of all sets; each set has the same weight, and within it the numbers have the prior's."""
    chosen = [part.counts > 0 for part in sets]
    pairs = list(zip(sets, chosen, strict=True))
    groups = [group for part, own in pairs for group, kept in zip(part.groups, own, strict=True) if kept]
    return Features(
        vectors=np.concatenate([part.described.vectors[own] for part, own in pairs]),
        counts=np.concatenate([part.counts[own] for part, own in pairs]),
        groups=np.array(groups, object),
        weights=np.concatenate([prior_weights(part.counts[own]) for part, own in pairs]),
    )


def _losses(ratio: Ratio) -> str:
    return (
        f"log loss {ratio.log_loss:.3f} in cross-validation, {ratio.log_loss_constant:.3f} for a constant "
        f"(C {ratio.strength:g})"
    )


def _with_counter(model: LoadedModel, ratios: Sequence[Ratio]) -> torch.nn.Module:
    network = copy.deepcopy(stream_network(model))
    counter = network.add_counter()
    with torch.no_grad():
        counter.weight.copy_(torch.from_numpy(np.stack([ratio.weight for ratio in ratios])))
        counter.bias.copy_(torch.tensor([ratio.bias for ratio in ratios]))
    return network
