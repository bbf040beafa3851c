"""Fills in the card of a trained model from what was trained, on what, and what was measured."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from mnbatch.assay.score_mixture import ScoreHistogram
from mnbatch.errors import TrainingError, UsageError
from mnbatch.evaluation.metrics import (
    Confusion,
    Scores,
    auc,
    average_precision,
    bootstrap,
    confusion,
    f1_at,
    fit_temperature,
    weighted_youden_threshold,
    with_temperature,
)
from mnbatch.imaging.preparation import Preparation
from mnbatch.imaging.stain_recognition import recognise_stain
from mnbatch.inference.card import UNFINISHED, ModelCard

if TYPE_CHECKING:
    from mnbatch.training.pool_feed import Pool
    from mnbatch.training.recipe import Recipe
    from mnbatch.training.training_loop import Trained
    from mnbatch.training.training_request import Request


DESCRIPTIONS = {
    "labelled": "labelled crops that were given to the training",
    "dressed": "the labelled fluorescence crops, drawn as stained cells (Beer-Lambert; synthetic cytoplasm and debris)",
    "composite": "composite cells: real and drawn nuclei, micronuclei, cytoplasm, platelets and debris; both stains",
    "smear": "real stained white blood cells with a micronucleus, or something else, pasted into the cytoplasm",
    "simulated": "cells of the simulator, both stains",
    "hard": "cells of the simulator with look-alikes of real slides: precipitate, platelets, buds; small files",
    "slides": "simulated slides of variety 0.8 and realistic frequencies, trained on none",
}
INTENDED_USE = (
    "Research on the scoring of micronuclei in crops of single cells, with a person's review of the calls. "
    "Not validated for clinical, diagnostic or dosimetric use."
)
LIMITATIONS = (
    "It says yes or no for a cell and counts nothing. Figures measured on synthetic cells (composite, dressed, smear, "
    "simulated) say little about real slides of another laboratory, stain or scanner. Micronuclei are far commoner in "
    "the training and validation data than on slides, where a false-positive rate of 1 % already exceeds the "
    "background. Scores of two slides are comparable only if stained, scanned and cropped alike."
)
HOW_TO_TRAIN = (
    "Sort crops of your own slides, labelled by your scorers, into mn/ and nomn/ (or list them in a CSV with file, "
    "label, slide, donor), then: mnbatch train DATA --out MODEL_DIR --init imagenet. Keep some donors for "
    "validation. A calibration curve must be made with the same model and threshold."
)


LONGEST_NAME = 64
_SHOWN = 80


def check_card_words(name: str, version: str, licence: str) -> None:
    """Refuse what a card may not say, before hours are spent on a model that could not be written.

    Args:
        name: "" where none was given.

    Raises:
        UsageError: says which letters a name may have.
    """
    pattern = next(rule.pattern for rule in ModelCard.model_fields["name"].metadata if hasattr(rule, "pattern"))
    # Not `match`: Python's $ allows a line break behind it.
    if name and not re.fullmatch(pattern, name):
        like = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:LONGEST_NAME].rstrip("-") or "my-model"
        raise UsageError(
            f"--name {name[:_SHOWN]!r} cannot be the name of a model: allowed are lower-case letters (a to z), digits "
            f"and hyphens, {LONGEST_NAME} at most, with a letter or a digit first.",
            f"For example --name {like}.",
        )
    for option, text in (("--model-version", version), ("--licence", licence)):
        if not text:
            raise UsageError(f"{option} is empty.", "Say what the card is to state, or leave the option out.")


def card_fields(
    request: Request,
    recipe: Recipe,
    preparation: Preparation,
    training: Sequence[Pool],
    validation: Sequence[Pool],
    stains: Sequence[str],
    scores: Mapping[str, Scores],
    trained: Trained,
    started_from: str,
    normalisation: tuple[tuple[float, float, float], tuple[float, float, float]],
    labelled_stains: Sequence[str],
) -> dict[str, object]:
    """Fields of `ModelCard`, all but those that `write_model_directory` fills in.

    Sensitivity, specificity and the score counts are those of the labelled crops. Where none of the stains that the
    model serves is among `labelled_stains` the card states none: reports would correct one stain by another's errors.
    """
    temperature = round(fit_temperature([(scores[pool.name], pool.labels) for pool in validation]), 4)
    scores = {name: with_temperature(values, temperature) for name, values in scores.items()}
    sets = [(scores[pool.name], pool.labels) for pool in validation]
    threshold = weighted_youden_threshold(sets, recipe.specificity_weight)
    own = validation[0]
    calls = confusion(scores[own.name], own.labels, threshold)
    mean, std = normalisation
    return {
        "name": request.name,
        "version": request.version,
        "architecture": request.network,
        "preparation": preparation,
        "normalisation": {"mean": mean, "std": std},
        "scale": {"crop_width_in_nucleus_diameters": request.crop_width},
        "stains": tuple(stains),
        "threshold": round(threshold, 4),
        "temperature": temperature,
        "threshold_rule": _threshold_rule(recipe, validation),
        "training_data": [_data(pool, request.data_licence) for pool in training],
        "recipe": _recipe(request, recipe, trained, started_from),
        "metrics": [metric for pool in validation for metric in _metrics(pool, scores[pool.name], threshold)],
        **(_errors(own, scores[own.name], calls) if set(stains) & set(labelled_stains) else {}),
        "licence": request.licence,
        "intended_use": INTENDED_USE,
        "limitations": " ".join(part for part in (request.note, LIMITATIONS) if part),
        "how_to_train_own": HOW_TO_TRAIN,
    }


def unfinished(fields: Mapping[str, object], epochs: int, of: int) -> dict[str, object]:
    """What a card says otherwise while its training goes on, or after it was broken off.

    The version is what every table and page shows of a model.

    Args:
        fields: of `card_fields`; epochs: that are done; of: how many there will be.
    """
    recipe = fields["recipe"]
    assert isinstance(recipe, dict)
    return {
        "version": f"{fields['version']} ({UNFINISHED}: epoch {epochs} of {of})",
        "recipe": recipe | {UNFINISHED: True},
    }


def _errors(own: Pool, scores: Scores, calls: Confusion) -> dict[str, object]:
    return {
        "sensitivity": _rate(own, calls.true_positive, calls.true_positive + calls.false_negative),
        "specificity": _rate(own, calls.true_negative, calls.true_negative + calls.false_positive),
        "validation_scores": _score_counts(own, scores),
    }


def served_stains(crops: Sequence[object], synthetic_stained: bool) -> list[str]:
    """Stains with at least a twentieth of the labelled crops; both where stained cells were made as well."""
    seen = [recognise_stain(crop) for crop in crops]  # type: ignore[arg-type]
    stains = [stain for stain in ("fluorescence", "giemsa") if seen.count(stain) >= 0.05 * len(seen)]
    if synthetic_stained and "giemsa" not in stains:
        stains.append("giemsa")
    return stains


def asked_stains(asked: Sequence[str] | None, trained: Sequence[str]) -> list[str]:
    """The stains that the card states: those asked for, which must be among those trained on, or all of these.

    Raises:
        TrainingError: a stain was asked for that no training cell shows.
    """
    if asked is None:
        return list(trained)
    strange = [stain for stain in asked if stain not in trained]
    if strange or not asked:
        raise TrainingError(
            f"The model cannot serve {', '.join(strange) or 'nothing'}: it is trained on {', '.join(trained)}.",
            "Correct --serves, or add cells of that stain.",
        )
    return list(asked)


def _threshold_rule(recipe: Recipe, validation: Sequence[Pool]) -> str:
    sets = ", ".join(f"{pool.name} ({len(pool.labels)} cells)" for pool in validation)
    return (
        f"largest mean of sensitivity + {recipe.specificity_weight:g} x specificity over the validation sets, each "
        f"counted alike: {sets}"
    )


def _recipe(request: Request, recipe: Recipe, trained: Trained, started_from: str) -> dict[str, object]:
    return {
        **recipe.model_dump(mode="json"),
        "initialised": started_from,
        "seed": request.seed,
        "best_epoch": trained.best.number,
        "checkpoint": "largest mean AUC over the validation sets",
        "history": [
            {"epoch": e.number, "loss": round(e.loss, 5), **{k: round(v, 4) for k, v in e.aucs.items()}}
            for e in trained.history
        ],
    }


def _data(pool: Pool, licence: str) -> dict[str, object]:
    return {
        "name": pool.name,
        "description": DESCRIPTIONS[pool.name],
        "n": len(pool.labels),
        "n_mn": int(pool.labels.sum()),
        "licence": licence if pool.name != "simulated" else "made by this program",
    }


def _metrics(pool: Pool, scores: Scores, threshold: float) -> list[dict[str, object]]:
    """AUC, average precision and F1 of one validation set, with bootstrap intervals."""
    figures = {
        "auc": auc,
        "average_precision": average_precision,
        "f1": lambda s, y: f1_at(s, y, threshold),
    }
    counts = {"data": f"validation, {pool.name}", "n": len(pool.labels), "n_mn": int(pool.labels.sum())}
    found = []
    for name, figure in figures.items():
        estimate = bootstrap(figure, scores, pool.labels)
        values = {"value": estimate.value, "ci_low": estimate.low, "ci_high": estimate.high}
        found.append({**counts, "name": name, **{key: round(value, 4) for key, value in values.items()}})
    return found


def _score_counts(pool: Pool, scores: Scores) -> dict[str, object] | None:
    if not 0 < int(pool.labels.sum()) < len(pool.labels):
        return None  # cells of one class say nothing of the other
    return asdict(ScoreHistogram.of(scores.tolist(), pool.labels.tolist(), f"validation, {pool.name}"))


def _rate(pool: Pool, right: int, total: int) -> dict[str, object]:
    return {"data": f"validation, {pool.name}", "right": right, "total": total}
