"""Fits the continuation ratios to features of a network, and says how good its counts are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from mnbatch.errors import TrainingError

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Fits the two continuation ratios to features that stay as they are: two weighted, penalised logistic regressions.


PRIOR = (0.70, 0.20, 0.10)
"""Shares of 1, 2 and 3 or more among the cells with micronuclei that the fit is weighted to, whatever was drawn: as in
synthetic cells, and near those of the mnfinder crops (0.65, 0.25, 0.09)."""

STRENGTHS = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
"""Inverse penalties that are tried (sklearn's C, on standardised features and weights of mean 1)."""

FOLDS = 4
FEWEST = 8
"""Cells on either side of a ratio below which it is not fitted."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Pooled features of cells with micronuclei.

    Attributes:
        vectors: float64 (n, d); counts: int (n,), 1 or more.
        groups: (n,) what must stay together in cross-validation (slide or donor); weights: (n,) of the sources.
    """

    vectors: Floats
    counts: Counts
    groups: npt.NDArray[np.object_]
    weights: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Ratio:
    """One fitted ratio: logit = weight . vector + bias; `strength` and `log_loss` as cross-validation had them.

    `log_loss_constant` is that of the ratio's weighted mean, the same for every cell.
    """

    weight: Floats
    bias: float
    strength: float
    log_loss: float
    log_loss_constant: float


def prior_weights(counts: Counts, prior: tuple[float, float, float] = PRIOR) -> Floats:
    """Weights (n,) of sum 1 that give 1, 2 and 3 or more the shares of `prior`, an absent one's to the others."""
    kinds = np.minimum(counts, len(prior))
    weights = np.zeros(len(counts))
    for kind, share in enumerate(prior, start=1):
        own = kinds == kind
        if own.any():
            weights[own] = share / own.sum()
    shared: Floats = weights / weights.sum()
    return shared


def fit_ratio(features: Features, least: int) -> Ratio:
    """P(n >= least | n >= least - 1) as a function of the features; the penalty by cross-validation over groups.

    Raises:
        TrainingError: too few cells on one side.
    """
    chosen = features.counts >= least - 1
    answer = features.counts[chosen] >= least
    for side, word in ((answer, f"{least} or more"), (~answer, f"exactly {least - 1}")):
        if int(side.sum()) < FEWEST:
            raise TrainingError(
                f"Only {int(side.sum())} training cells have {word} micronuclei; {FEWEST} at least are needed.",
                "Add cells with counts, or synthetic cells (--made-cells, --nuclei, --smears).",
            )
    x, groups = features.vectors[chosen], features.groups[chosen]
    weights = features.weights[chosen] / features.weights[chosen].mean()
    mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-9
    standard = (x - mean) / deviation
    losses = {c: _cross_validated(standard, answer, weights, groups, c) for c in STRENGTHS}
    strength = min(losses, key=lambda c: losses[c])
    model = _regression(strength).fit(standard, answer, weights)
    weight = model.coef_[0] / deviation
    share = float(np.average(answer, weights=weights))
    constant = float(_log_loss(np.full(len(answer), logit(share)), answer, weights))
    return Ratio(weight, float(model.intercept_[0] - weight @ mean), strength, losses[strength], constant)


def _regression(strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=300)


def _cross_validated(
    x: Floats, answer: npt.NDArray[np.bool_], weights: Floats, groups: npt.NDArray[np.object_], strength: float
) -> float:
    """Weighted log loss of cells whose groups were left out of the fit."""
    folds = min(FOLDS, len(set(groups)))
    if folds < 2:
        raise TrainingError("The counted cells are all of one slide.", "Cross-validation needs at least two.")
    logits = np.zeros(len(answer))
    for kept, out in GroupKFold(folds).split(x, answer, groups):
        if answer[kept].all() or not answer[kept].any():
            logits[out] = logit(np.clip(np.average(answer[kept], weights=weights[kept]), 0.01, 0.99))
        else:
            logits[out] = _regression(strength).fit(x[kept], answer[kept], weights[kept]).decision_function(x[out])
    return _log_loss(logits, answer, weights)


def _log_loss(logits: Floats, answer: npt.NDArray[np.bool_], weights: Floats) -> float:
    p = np.clip(expit(np.where(answer, logits, -logits)), 1e-12, 1)
    return float(np.average(-np.log(p), weights=weights))
