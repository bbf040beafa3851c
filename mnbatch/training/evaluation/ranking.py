"""Cells in the order of their scores, and the figures that follow from weighted counts along that order.

Every resample of a bootstrap is a vector of weights over the same cells, so cells are sorted once and each resample
costs two cumulative sums. Importance weights for a stated prevalence are weights like any others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Cells in falling order of score; cells of equal score form one level and are never divided.

    Attributes:
        order: indices of the cells, (n,).
        labels: the cell has a micronucleus, in that order.
        ends: place in `order` of the last cell of each level, (k,).
        levels: the distinct scores, falling, (k,).
    """

    order: Integers
    labels: Bools
    ends: Integers
    levels: Floats

    @classmethod
    def of(cls, scores: Floats, labels: Bools) -> Ranking:
        """Sort cells by score; ties keep the order in which they were given."""
        order = np.argsort(-scores, kind="stable")
        ordered = scores[order]
        ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
        return cls(order, labels[order], ends, ordered[ends])

    def counts(self, weights: Floats) -> tuple[Floats, Floats]:
        """Weight of cells with and without MN at or above each level.

        Args:
            weights: (..., n), one for each cell, in the order in which cells were given.

        Returns:
            True and false positives, (..., k) each.
        """
        ordered = weights[..., self.order]
        positives = np.cumsum(ordered * self.labels, axis=-1)[..., self.ends]
        negatives = np.cumsum(ordered * ~self.labels, axis=-1)[..., self.ends]
        return positives, negatives


def area_under_roc(true_positive: Floats, false_positive: Floats) -> Floats:
    """AUC by the trapezoidal rule, ties counted half; NaN where a class has no weight. (..., k) -> (...)."""
    rise = true_positive - _step(true_positive) / 2
    area = (rise * _step(false_positive)).sum(axis=-1)
    return ratio(area, true_positive[..., -1] * false_positive[..., -1])


def average_precision(true_positive: Floats, false_positive: Floats) -> Floats:
    """Sum over levels of (recall gained) x precision, without interpolation; NaN without positives."""
    precision = np.nan_to_num(ratio(true_positive, true_positive + false_positive))
    return ratio((precision * _step(true_positive)).sum(axis=-1), true_positive[..., -1])


def best_f1(true_positive: Floats, false_positive: Floats) -> Floats:
    """The largest F1 over all thresholds; optimistic, since it is chosen on the data it is measured on."""
    f1 = f1_of(true_positive, false_positive, true_positive[..., -1:])
    return np.asarray(f1.max(axis=-1))


def f1_of(true_positive: Floats, false_positive: Floats, positives: Floats) -> Floats:
    """2 TP / (TP + FP + P), the harmonic mean of precision and recall; NaN where nothing is positive."""
    f1 = ratio(2 * true_positive, true_positive + false_positive + positives)
    return np.asarray(np.where(positives > 0, f1, np.nan))


def prevalence_weights(weights: Floats, labels: Bools, prevalence: float) -> Floats:
    """Weights under which a share `prevalence` of all weight lies on cells with MN.

    Within a class the weights keep their proportions: p(score | class) is taken from the data, p(class) is stated
    (importance weights for a shift of the prior; Saerens et al., Neural Computation 14:21, 2002, eq. 2.1).

    Args:
        weights: (..., n); every row is scaled for itself.
    """
    positive = (weights * labels).sum(axis=-1, keepdims=True)
    negative = (weights * ~labels).sum(axis=-1, keepdims=True)
    scale = np.where(
        labels,
        ratio(np.full_like(positive, prevalence), positive),
        ratio(np.full_like(negative, 1 - prevalence), negative),
    )
    return np.asarray(weights * scale)


def _step(cumulative: Floats) -> Floats:
    return np.diff(cumulative, axis=-1, prepend=0.0)


def ratio(upper: Floats, lower: Floats) -> Floats:
    """`upper / lower`, NaN where `lower` is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(lower > 0, upper / lower, np.nan))
