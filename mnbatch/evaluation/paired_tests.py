"""Two models on the same cells: DeLong's test of the AUCs, McNemar's test of the calls."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy.stats import binom, rankdata

from mnbatch.errors import TrainingError
from mnbatch.evaluation.performance import Bools, Floats


@dataclass(frozen=True, slots=True)
class DeLong:
    """Difference of two correlated AUCs.

    Attributes:
        auc_first, auc_second: of the two models.
        difference: first - second; low, high: its 95 % interval.
        standard_error: of the difference; 0 where both rank every pair alike.
        z, p_value: two-sided normal test of no difference; p is 1 where the difference and its error are 0, and 0
            where only the error is 0.
    """

    auc_first: float
    auc_second: float
    difference: float
    standard_error: float
    low: float
    high: float
    z: float
    p_value: float


@dataclass(frozen=True, slots=True)
class McNemar:
    """Cells on which two models disagree.

    Attributes:
        first_right: only the first model's call is right; second_right: only the second's.
        p_value: exact two-sided.
    """

    first_right: int
    second_right: int
    p_value: float


def delong(first: Floats, second: Floats, labels: Bools) -> DeLong:
    """Test the difference of two AUCs measured on the same cells.

    DeLong, DeLong and Clarke-Pearson, Biometrics 44:837 (1988), with the structural components from midranks
    (Sun and Xu, IEEE Signal Processing Letters 21:1389, 2014): for m cells with MN and n without,
    V10_i = (rank of cell i among all - its rank among those with MN) / n,
    V01_j = 1 - (rank of cell j among all - its rank among those without) / m,
    AUC = mean V10, and var(difference) = var(V10 first - V10 second) / m + var(V01 first - V01 second) / n with
    sample variances. Cells are taken as independent.

    Args:
        first, second: scores of the two models, (cells,).

    Raises:
        TrainingError: fewer than two cells of a class.
    """
    if min(int(labels.sum()), int((~labels).sum())) < 2:
        raise TrainingError("DeLong's test needs at least two cells of each class.", "Give more labelled cells.")
    (with_first, without_first), (with_second, without_second) = (_components(s, labels) for s in (first, second))
    aucs = float(with_first.mean()), float(with_second.mean())
    variance = (with_first - with_second).var(ddof=1) / len(with_first)
    variance += (without_first - without_second).var(ddof=1) / len(without_first)
    error, difference = float(np.sqrt(variance)), aucs[0] - aucs[1]
    # Midranks are halves of whole numbers: differences below 1e-12 are rounding.
    if error < 1e-12:
        same = abs(difference) < 1e-12
        return DeLong(*aucs, difference, 0.0, difference, difference, 0.0 if same else np.inf, float(same))
    half, z = NormalDist().inv_cdf(0.975) * error, difference / error
    return DeLong(*aucs, difference, error, difference - half, difference + half, z, 2 * NormalDist().cdf(-abs(z)))


def _components(scores: Floats, labels: Bools) -> tuple[Floats, Floats]:
    """Structural components V10 (cells with MN) and V01 (cells without)."""
    ranks = rankdata(scores)
    m, n = int(labels.sum()), int((~labels).sum())
    with_mn = (ranks[labels] - rankdata(scores[labels])) / n
    without = 1 - (ranks[~labels] - rankdata(scores[~labels])) / m
    return with_mn, without


def mcnemar(first: Bools, second: Bools, labels: Bools) -> McNemar:
    """Test whether two models err equally often on the same cells.

    McNemar, Psychometrika 12:153 (1947), in its exact form: of the cells on which exactly one model is right, each
    model has half (binomial); p = min(1, 2 P(B <= the smaller count)). Cells are taken as independent.

    Args:
        first, second: the two models' calls, (cells,).
    """
    only_first = int(((first == labels) & (second != labels)).sum())
    only_second = int(((first != labels) & (second == labels)).sum())
    smaller, both = min(only_first, only_second), only_first + only_second
    p_value = 1.0 if both == 0 else min(1.0, 2 * float(binom.cdf(smaller, both, 0.5)))
    return McNemar(only_first, only_second, p_value)
