"""How good counts of micronuclei are; 3 means 3 or more, in what is true as in what is called."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mnbatch.assay.mn_counts import CLASSES, MOST, likeliest_count

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """Cells whose micronuclei were counted by a person (or drawn) and by a model.

    Attributes:
        true, called: int (n,), 0 to 3.
    """

    true: Counts
    called: Counts

    @classmethod
    def of(cls, true: npt.ArrayLike, called: npt.ArrayLike) -> Counted:
        """Counts as given, larger ones taken as 3."""
        return cls(np.minimum(np.asarray(true, np.int64), MOST), np.minimum(np.asarray(called, np.int64), MOST))


def called_counts(mn: npt.NDArray[np.bool_], ratios: Floats) -> Counts:
    """Micronuclei as called, 0 to 3, from the calls (n,) and the continuation ratios (n, 2)."""
    found = [likeliest_count((float(q2), float(q3))) if yes else 0 for yes, (q2, q3) in zip(mn, ratios, strict=True)]
    return np.array(found, np.int64)


def confusion(counted: Counted) -> npt.NDArray[np.int64]:
    """(4, 4): cells by true number (rows) and number called (columns)."""
    matrix = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    np.add.at(matrix, (counted.true, counted.called), 1)
    return matrix


def weighted_confusion(counted: Counted, weights: Floats) -> tuple[tuple[float, ...], ...]:
    """`confusion` in sums of the cells' weights, (n,)."""
    matrix = np.zeros((len(CLASSES), len(CLASSES)))
    np.add.at(matrix, (counted.true, counted.called), weights)
    return tuple(tuple(float(number) for number in row) for row in matrix)


def mean_absolute_error(true: Counts, called: npt.NDArray[np.integer | np.floating]) -> float:
    """Mean over the cells of |called - true|, micronuclei a cell."""
    return float(np.abs(called - true).mean())


def weighted_figures(counted: Counted, weights: Floats) -> dict[str, Floats]:
    """Figures of resamples: how often each cell was drawn, (m, n), to values (m,).

    `count_error` is the mean absolute error, `mn_per_1000` and `true_mn_per_1000` the MN frequency as called and true,
    `mn_ratio` the one over the other (NaN where there is no micronucleus).
    """
    total = weights.sum(axis=1)
    called, true = weights @ counted.called, weights @ counted.true
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(true > 0, called / true, np.nan)
    return {
        "count_error": weights @ np.abs(counted.called - counted.true) / total,
        "mn_per_1000": 1000 * called / total,
        "true_mn_per_1000": 1000 * true / total,
        "mn_ratio": ratio,
    }


def error_interval(counted: Counted, seed: int = 0, resamples: int = 1000) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean absolute error, over cells within their true number."""
    rng = np.random.default_rng(seed)
    errors = np.abs(counted.called - counted.true).astype(np.float64)
    total = np.zeros(resamples)
    for n in range(len(CLASSES)):
        own = errors[counted.true == n]
        if len(own):
            total += own[rng.integers(len(own), size=(resamples, len(own)))].sum(axis=1)
    low, high = np.quantile(total / len(errors), (0.025, 0.975))
    return float(low), float(high)
