"""Figures of a yes/no classifier, with bootstrap intervals over cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from scipy.stats import rankdata

from mnbatch.errors import TrainingError

Scores = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % percentile bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of cells at a threshold (a cell is called MN at p >= threshold)."""

    true_positive: int
    false_negative: int
    true_negative: int
    false_positive: int

    @property
    def sensitivity(self) -> float:
        """Cells with MN that are called MN / all cells with MN."""
        return self.true_positive / max(1, self.true_positive + self.false_negative)

    @property
    def specificity(self) -> float:
        """Cells without MN that are called so / all cells without MN."""
        return self.true_negative / max(1, self.true_negative + self.false_positive)


def auc(scores: Scores, labels: Labels) -> float:
    """Area under the ROC curve: the chance that a cell with MN scores above one without (ties count half).

    Raises:
        TrainingError: one of the classes is absent.
    """
    positives, negatives = int(labels.sum()), int((~labels).sum())
    if positives == 0 or negatives == 0:
        raise TrainingError(
            f"An AUC needs both classes; there are {positives} cells with and {negatives} without micronuclei.",
            "Add labelled cells of the missing class to the validation data.",
        )
    ranks = rankdata(scores)
    return float((ranks[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(scores: Scores, labels: Labels) -> float:
    """Area under the precision-recall steps; it depends on the prevalence in the data."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.diff(scores[order]) != 0, True)  # ties enter together
    hits = np.cumsum(labels[order])[ends]
    called = np.flatnonzero(ends) + 1
    gained = np.diff(hits, prepend=0)
    return float((gained * hits / called).sum() / max(1, labels.sum()))


def f1_at(scores: Scores, labels: Labels, threshold: float) -> float:
    """Harmonic mean of precision and recall of the calls `scores >= threshold`."""
    calls = confusion(scores, labels, threshold)
    wrong = calls.false_positive + calls.false_negative
    return 2 * calls.true_positive / max(1, 2 * calls.true_positive + wrong)


def confusion(scores: Scores, labels: Labels, threshold: float) -> Confusion:
    """Counts of right and wrong calls at a threshold."""
    called = scores >= threshold
    return Confusion(
        true_positive=int((called & labels).sum()),
        false_negative=int((~called & labels).sum()),
        true_negative=int((~called & ~labels).sum()),
        false_positive=int((called & ~labels).sum()),
    )


def bootstrap(
    figure: Callable[[Scores, Labels], float],
    scores: Scores,
    labels: Labels,
    seed: int = 0,
    resamples: int = 1000,
) -> Estimate:
    """A figure with its interval from resampled cells; the number of each class is kept (stratified)."""
    rng = np.random.default_rng(seed)
    with_mn, without = np.flatnonzero(labels), np.flatnonzero(~labels)
    values = []
    for _ in range(resamples):
        drawn = np.concatenate([rng.choice(with_mn, len(with_mn)), rng.choice(without, len(without))])
        values.append(figure(scores[drawn], labels[drawn]))
    low, high = np.quantile(values, (0.025, 0.975))
    return Estimate(figure(scores, labels), float(low), float(high))


def weighted_youden_threshold(sets: Sequence[tuple[Scores, Labels]], specificity_weight: float) -> float:
    """The threshold with the largest mean over the sets of sensitivity + weight x specificity.

    Slides hold ten to a hundred cells without MN for one with, so a lost point of specificity costs more than a
    lost point of sensitivity; the weight says how much more. Every set counts alike, whatever its size. Where a
    range of thresholds does equally well, its middle is taken.
    """
    return youden_of_weighted([(s, labels, np.ones(len(s))) for s, labels in sets], specificity_weight)


def youden_of_weighted(sets: Sequence[tuple[Scores, Labels, Scores]], specificity_weight: float) -> float:
    """As `weighted_youden_threshold`, of cells that count with a weight each: (scores, labels, weights), all (n,)."""
    levels = np.unique(np.concatenate([scores for scores, _, _ in sets]))
    candidates = np.concatenate([levels[:1], (levels[1:] + levels[:-1]) / 2])
    gains = np.zeros(len(candidates))
    for scores, labels, weights in sets:
        sensitivity = 1 - _share_below(scores[labels], weights[labels], candidates)
        specificity = _share_below(scores[~labels], weights[~labels], candidates)
        gains += sensitivity + specificity_weight * specificity
    best = np.flatnonzero(np.isclose(gains, gains.max()))
    return float(candidates[best[len(best) // 2]])


def _share_below(scores: Scores, weights: Scores, levels: Scores) -> Scores:
    """Of the scores' weight, the share below each level."""
    order = np.argsort(scores, kind="stable")
    total = np.concatenate([[0.0], np.cumsum(weights[order])])
    return np.asarray(total[np.searchsorted(scores[order], levels)] / total[-1], np.float64)


def fit_temperature(sets: Sequence[tuple[Scores, Labels]]) -> float:
    """The divisor of the logits that makes probabilities fit best (Guo et al. 2017), between 0.05 and 20.

    Focal loss leaves probabilities too near 0.5. The fit minimises the mean over the sets of the log loss with both
    classes counted alike, so a probability is that of a cell from a balanced set, whatever the sets' prevalence.
    """

    def loss(log_temperature: float) -> float:
        total = 0.0
        for scores, labels in sets:
            p = expit(logit(scores.clip(1e-7, 1 - 1e-7)) / np.exp(log_temperature)).clip(1e-12, 1 - 1e-12)
            total -= float(np.log(p[labels]).mean() + np.log1p(-p[~labels]).mean())
        return total

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x))


def with_temperature(scores: Scores, temperature: float) -> Scores:
    """Probabilities after their logits are divided by a temperature."""
    return np.asarray(expit(logit(scores.clip(1e-7, 1 - 1e-7)) / temperature), np.float64)
