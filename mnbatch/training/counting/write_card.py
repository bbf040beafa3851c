"""What the card of a counting model says: how the counter was fitted, and how good its counts are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from mnbatch.inference.card import ModelCard
from mnbatch.inference.model_directory import LoadedModel
from mnbatch.training.counting.features import Described
from mnbatch.training.counting.figures import (
    Counted,
    Counts,
    called_counts,
    confusion,
    error_interval,
    mean_absolute_error,
)
from mnbatch.training.counting.fit import PRIOR, Features, Ratio

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
