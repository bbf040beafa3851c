"""All figures of one model on one set of cells, with their intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mnbatch.assay.intervals import clopper_pearson
from mnbatch.training.evaluation.ranking import (
    Bools,
    Floats,
    Ranking,
    area_under_roc,
    average_precision,
    best_f1,
    f1_of,
    prevalence_weights,
    ratio,
)
from mnbatch.training.evaluation.resampling import Units, percentile_interval, resampled_weights
from mnbatch.training.metrics import Confusion

EXACT = "Clopper-Pearson over cells"
GRID = np.linspace(0.0, 1.0, 101)
"""False-positive rates and recalls at which the bands of the curves are given."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Scored cells whose truth is known.

    Attributes:
        scores: p_mn, 0..1, (n,).
        labels: the cell has a micronucleus, (n,).
        called: the model calls it MN at its card's threshold, (n,).
        units: what a bootstrap draws.
    """

    scores: Floats
    labels: Bools
    called: Bools
    units: Units


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure with its 95 % interval.

    Attributes:
        value: None where it is undefined (an AUC without one of the classes).
        low, high: None where no interval could be given.
        method: how the interval was made.
        prevalence: share of cells with MN that the figure holds for; None for the data's own or none.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    method: str
    prevalence: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A curve with a pointwise 95 % band.

    Attributes:
        x, y: its corner points (false-positive rate and sensitivity, or recall and precision).
        low, high: the band at `GRID`; NaN where it is undefined.
    """

    x: Floats
    y: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Figures of a set of cells; curves only where both classes are there and they were asked for."""

    cells: int
    with_mn: int
    confusion: Confusion
    figures: tuple[Figure, ...]
    warning: str
    best_threshold: float | None
    roc: Curve | None = None
    precision_recall: Curve | None = None

    def __getitem__(self, name: str) -> Figure:
        """The figure of this name, at the data's own prevalence."""
        return next(figure for figure in self.figures if figure.name == name and figure.prevalence is None)

    def at(self, name: str, prevalence: float) -> Figure:
        """The figure of this name at a stated prevalence."""
        return next(figure for figure in self.figures if figure.name == name and figure.prevalence == prevalence)


def measure(
    sample: Sample, prevalence: float | None = None, resamples: int = 2000, seed: int = 1, curves: bool = False
) -> Measured:
    """Every figure of a sample.

    Args:
        prevalence: share of cells with MN for which AP, precision and F1 are given again.
        resamples: of the bootstrap; 0 gives no bootstrap intervals.
        curves: also the ROC and precision-recall curves with their bands.
    """
    ranking = Ranking.of(sample.scores, sample.labels)
    ones = np.ones((1, len(sample.labels)))
    values = _figures(sample, ranking, ones, prevalence)
    drawn: list[dict[tuple[str, float | None], Floats]] = []
    bands = _Bands(curves and bool(sample.labels.any() and not sample.labels.all()))
    for weights in resampled_weights(sample.labels, sample.units, resamples, seed):
        drawn.append(_figures(sample, ranking, weights, prevalence))
        bands.add(ranking, weights)
    figures = []
    for key, value in values.items():
        over = np.concatenate([block[key] for block in drawn]) if drawn else np.zeros(0)
        figures.append(_figure(key, float(value[0]), over, sample.units.method))
    counts = _confusion(sample)
    return Measured(
        cells=len(sample.labels),
        with_mn=int(sample.labels.sum()),
        confusion=counts,
        figures=(*figures, *_rates(counts)),
        warning=sample.units.warning if resamples else "",
        best_threshold=_best_threshold(ranking, ones[0]),
        roc=bands.roc(ranking, ones),
        precision_recall=bands.precision_recall(ranking, ones),
    )


def _figures(
    sample: Sample, ranking: Ranking, weights: Floats, prevalence: float | None
) -> dict[tuple[str, float | None], Floats]:
    """Figures of every row of weights, (m, n) -> (m,) each, by name and prevalence."""
    found: dict[tuple[str, float | None], Floats] = {}
    found["auc", None] = area_under_roc(*ranking.counts(weights))
    misses = (sample.scores - sample.labels) ** 2
    found["brier", None] = ratio((weights * misses).sum(axis=-1), weights.sum(axis=-1))
    for share in (None,) if prevalence is None else (None, prevalence):
        used = weights if share is None else prevalence_weights(weights, sample.labels, share)
        counts = ranking.counts(used)
        found["average_precision", share] = average_precision(*counts)
        true_positive = used @ (sample.called & sample.labels)
        false_positive = used @ (sample.called & ~sample.labels)
        found["precision", share] = ratio(true_positive, true_positive + false_positive)
        found["f1", share] = f1_of(true_positive, false_positive, used @ sample.labels)
        found["best_f1", share] = best_f1(*counts)
    return found


def _figure(key: tuple[str, float | None], value: float, over: Floats, method: str) -> Figure:
    interval = percentile_interval(over)
    if np.isnan(value):
        return Figure(key[0], None, None, None, "", key[1])
    low, high = interval or (None, None)
    return Figure(key[0], value, low, high, method if interval else "", key[1])


def _confusion(sample: Sample) -> Confusion:
    return Confusion(
        true_positive=int((sample.called & sample.labels).sum()),
        false_negative=int((~sample.called & sample.labels).sum()),
        true_negative=int((~sample.called & ~sample.labels).sum()),
        false_positive=int((sample.called & ~sample.labels).sum()),
    )


def _rates(counts: Confusion) -> tuple[Figure, Figure]:
    return (
        exact_rate("sensitivity", counts.true_positive, counts.true_positive + counts.false_negative),
        exact_rate("specificity", counts.true_negative, counts.true_negative + counts.false_positive),
    )


def exact_rate(name: str, right: int, total: int) -> Figure:
    """A share of cells with its exact interval; undefined without cells."""
    if total == 0:
        return Figure(name, None, None, None, "")
    low, high = clopper_pearson(right, total)
    return Figure(name, right / total, low, high, EXACT)


def _best_threshold(ranking: Ranking, ones: Floats) -> float | None:
    """The highest score at or above which calling MN gives the largest F1."""
    true_positive, false_positive = ranking.counts(ones)
    if true_positive[-1] == 0:
        return None
    f1 = f1_of(true_positive, false_positive, true_positive[-1:])
    return float(ranking.levels[int(np.argmax(f1))])


class _Bands:
    """Collects ROC and precision-recall curves of resamples at `GRID`."""

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted
        self._roc: list[Floats] = []
        self._precision: list[Floats] = []

    def add(self, ranking: Ranking, weights: Floats) -> None:
        if not self.wanted:
            return
        for true_positive, false_positive in zip(*ranking.counts(weights), strict=True):
            if true_positive[-1] > 0 and false_positive[-1] > 0:
                x, y = roc_points(true_positive, false_positive)
                self._roc.append(np.interp(GRID, x, y))
                self._precision.append(precision_at(GRID, true_positive, false_positive))

    def roc(self, ranking: Ranking, ones: Floats) -> Curve | None:
        if not self.wanted:
            return None
        true_positive, false_positive = (count[0] for count in ranking.counts(ones))
        return Curve(*roc_points(true_positive, false_positive), *_band(self._roc))

    def precision_recall(self, ranking: Ranking, ones: Floats) -> Curve | None:
        if not self.wanted:
            return None
        true_positive, false_positive = (count[0] for count in ranking.counts(ones))
        recall = true_positive / true_positive[-1]
        precision = true_positive / (true_positive + false_positive)
        return Curve(recall, precision, *_band(self._precision))


def roc_points(true_positive: Floats, false_positive: Floats) -> tuple[Floats, Floats]:
    """Corners of the ROC curve from (0, 0) to (1, 1)."""
    x = np.concatenate([[0.0], false_positive / false_positive[-1]])
    y = np.concatenate([[0.0], true_positive / true_positive[-1]])
    return x, y


def precision_at(recalls: Floats, true_positive: Floats, false_positive: Floats) -> Floats:
    """Precision at the highest threshold that reaches each recall (a step function, as average precision sums)."""
    reached = true_positive / true_positive[-1]
    # Sums of weights are whole numbers here, but their quotients are not: 1e-12 keeps 0.3 from missing 0.3.
    place = np.minimum(np.searchsorted(reached, recalls - 1e-12), len(reached) - 1)
    # Levels without weight come first where a resample lacks the highest scores; they hold no precision.
    first = int(np.argmax(true_positive + false_positive > 0))
    place = np.maximum(place, first)
    return np.asarray(true_positive[place] / (true_positive[place] + false_positive[place]))


def _band(rows: list[Floats]) -> tuple[Floats, Floats]:
    if not rows:
        return np.full(len(GRID), np.nan), np.full(len(GRID), np.nan)
    low, high = np.quantile(np.stack(rows), (0.025, 0.975), axis=0)
    return low, high
