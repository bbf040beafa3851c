"""All figures of one model on one set of cells, with their bootstrap intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mnbatch.assay.intervals import clopper_pearson
from mnbatch.evaluation.metrics import Confusion

# Bootstrap resamples as weights, over cells within their class or over whole clusters (donors, slides).


_VALUES_AT_ONCE = 2_000_000
_ROUNDING = 1e-12
FEW_CLUSTERS = 10
"""Below this many clusters an interval of a cluster bootstrap is usually too narrow, and that is said."""


@dataclass(frozen=True, slots=True)
class Units:
    """What is drawn in a resample.

    Attributes:
        name: "cell", or what a cluster is: "donor", "slide", or a group column.
        index: cluster number of each cell, (n,); None where cells are drawn.
        count: number of clusters, or of cells.
        only: what all cells are of; "" where they are of several, or nothing is known of them.
    """

    name: str
    index: Integers | None
    count: int
    only: str = ""

    @property
    def method(self) -> str:
        """How intervals were made, for tables and pages."""
        if self.index is None:
            return "bootstrap over cells, stratified by class"
        return f"bootstrap over {self.count} clusters ({self.name})"

    @property
    def warning(self) -> str:
        """Why the intervals should not be trusted too much, or ""."""
        if self.only:
            return (
                f"All cells are of one {self.only}: intervals are over cells, say nothing of other people or slides, "
                "and are probably too narrow."
            )
        if self.index is None or self.count >= FEW_CLUSTERS:
            return ""
        return f"Intervals come from only {self.count} clusters ({self.name}); they are probably too narrow."


def units_of(names: Sequence[str], what: str) -> Units:
    """Clusters by name; cells without a name are clusters of their own. One cluster or none: cells are drawn."""
    keys = [name or f"\0{number}" for number, name in enumerate(names)]
    distinct, index = np.unique(np.array(keys, dtype=object), return_inverse=True)
    if not any(names) or len(distinct) < 2:
        return Units("cell", None, len(names), what if any(names) else "")
    return Units(what, index.astype(np.intp), len(distinct))


def resampled_weights(labels: Bools, units: Units, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each cell was drawn, in blocks of rows, (m, n); `resamples` rows in all.

    Cells are drawn with replacement within their class, so that every resample has both classes in the numbers of
    the data (stratified). Clusters are drawn with replacement as wholes (Davison and Hinkley, Bootstrap Methods,
    1997, section 3.8): cells of one donor or slide resemble each other, and drawing them singly would make
    intervals too narrow. A resample of clusters may then lack a class; figures that need it are NaN there.
    """
    rng = np.random.default_rng(seed)
    rows = max(1, min(resamples, _VALUES_AT_ONCE // max(1, len(labels))))
    for first in range(0, resamples, rows):
        yield _drawn(rng, labels, units, min(rows, resamples - first))


def _drawn(rng: np.random.Generator, labels: Bools, units: Units, rows: int) -> Floats:
    if units.index is not None:
        return _multinomial(rng, units.count, rows)[:, units.index]
    weights = np.zeros((rows, len(labels)))
    for members in (np.flatnonzero(labels), np.flatnonzero(~labels)):
        if len(members):
            weights[:, members] = _multinomial(rng, len(members), rows)
    return weights


def _multinomial(rng: np.random.Generator, count: int, rows: int) -> Floats:
    """How often each of `count` things comes up in `count` draws; (rows, count)."""
    drawn = rng.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
    return np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)


def percentile_interval(values: Floats) -> tuple[float, float] | None:
    """The 2.5 and 97.5 % quantiles of a figure over the resamples.

    Resamples in which it is undefined are left out; None where that is more than half of them, or where there are
    none.
    """
    defined = values[~np.isnan(values)]
    if not len(values) or len(defined) * 2 < len(values):
        return None
    low, high = np.quantile(defined, (0.025, 0.975))
    return float(low), float(high)


# Cells in the order of their scores, and the figures that follow from weighted counts along that order.
#
# Every resample of a bootstrap is a vector of weights over the same cells, so cells are sorted once and each resample
# costs two cumulative sums. Importance weights for a stated prevalence are weights like any others.


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
    """Weights under which a share `prevalence` of all weight is on cells with MN.

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


# Reliability: of the cells that got a probability of about p, what share has a micronucleus?


@dataclass(frozen=True, slots=True)
class Bin:
    """Cells whose probabilities are in `from_p <= p < to_p` (the last bin holds p = 1 too).

    Attributes:
        mean_p: mean probability; None in an empty bin.
        observed: share with MN, with its exact (Clopper-Pearson) 95 % interval; None in an empty bin, the interval also
            where cells of the bin stand for different numbers of cells.
    """

    from_p: float
    to_p: float
    cells: int
    with_mn: int
    mean_p: float | None
    observed: float | None
    low: float | None
    high: float | None


def reliability(scores: Floats, labels: Bools, bins: int = 10, weights: Floats | None = None) -> tuple[Bin, ...]:
    """Bins of equal width over 0..1 with their counts.

    Args:
        weights: how many cells each one stands for, (n,); None where each stands for itself. Mean probability and
            observed share are weighted by it; counts are of the cells that are there.
    """
    place = np.minimum((scores * bins).astype(int), bins - 1)
    inside = [place == number for number in range(bins)]
    return tuple(
        _bin(number, bins, scores[here], labels[here], None if weights is None else weights[here])
        for number, here in enumerate(inside)
    )


def _bin(number: int, bins: int, scores: Floats, labels: Bools, weights: Floats | None) -> Bin:
    edges = number / bins, (number + 1) / bins
    cells, with_mn = len(labels), int(labels.sum())
    if cells == 0:
        return Bin(*edges, 0, 0, None, None, None, None)
    if weights is not None and not (weights == weights[0]).all():
        # An exact interval is of cells that count alike.
        mean_p, observed = (float(np.average(values, weights=weights)) for values in (scores, labels))
        return Bin(*edges, cells, with_mn, mean_p, observed, None, None)
    return Bin(*edges, cells, with_mn, float(scores.mean()), with_mn / cells, *clopper_pearson(with_mn, cells))


# All figures of one model on one set of cells, with their intervals.


EXACT = "Clopper-Pearson over cells"
WEIGHTED = "cells weighted by 1 / inclusion probability"
ALIKE = "no interval: the figure is the same in all resamples"
"""Of drawn cells: where none of a few drawn ones is wrong, no resample has an error, and others may well."""
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
        weights: how many cells each one stands for, (n,); None where each stands for itself.
    """

    scores: Floats
    labels: Bools
    called: Bools
    units: Units
    weights: Floats | None = None

    @property
    def base(self) -> Floats:
        """The weights of the data as it is, (1, n)."""
        return np.ones((1, len(self.labels))) if self.weights is None else self.weights[None]

    @property
    def method(self) -> str:
        """How bootstrap intervals were made, for tables and pages."""
        return self.units.method if self.weights is None else f"{self.units.method}; {WEIGHTED}"

    def resampled(self, resamples: int, seed: int) -> Iterator[Floats]:
        """Weights of the cells in resamples, as `resampled_weights` gives them."""
        for drawn in resampled_weights(self.labels, self.units, resamples, seed):
            yield drawn if self.weights is None else drawn * self.weights


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


@dataclass(frozen=True, slots=True)
class StoodFor:
    """Right and wrong calls of the cells that drawn ones stand for: sums of their weights, as in `Confusion`."""

    true_positive: float
    false_negative: float
    true_negative: float
    false_positive: float

    @property
    def with_mn(self) -> float:
        """Cells with micronuclei."""
        return self.true_positive + self.false_negative

    @property
    def cells(self) -> float:
        """All cells."""
        return self.with_mn + self.true_negative + self.false_positive


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Figures of a set of cells; curves only where both classes are there and they were asked for.

    Attributes:
        cells, with_mn, confusion: of the cells that are there.
        stood_for: what they stand for, where they were drawn with probabilities; else None.
    """

    cells: int
    with_mn: int
    confusion: Confusion
    figures: tuple[Figure, ...]
    warning: str
    best_threshold: float | None
    roc: Curve | None = None
    precision_recall: Curve | None = None
    stood_for: StoodFor | None = None

    @property
    def share_with_mn(self) -> float:
        """Share of cells with MN for which AP, precision and F1 hold when no other is stated."""
        counted = self.stood_for or self
        return counted.with_mn / counted.cells

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
    base = sample.base
    values = _figures(sample, ranking, base, prevalence)
    drawn: list[dict[tuple[str, float | None], Floats]] = []
    bands = _Bands(curves and bool(sample.labels.any() and not sample.labels.all()))
    for weights in sample.resampled(resamples, seed):
        drawn.append(_figures(sample, ranking, weights, prevalence))
        bands.add(ranking, weights)
    figures = []
    for key, value in values.items():
        over = np.concatenate([block[key] for block in drawn]) if drawn else np.zeros(0)
        made = bootstrap_figure if sample.weights is None else weighted_figure
        figures.append(made(key, float(value[0]), over, sample.method))
    counts = _confusion(sample)
    if sample.weights is None:
        figures += _rates(counts)
    return Measured(
        cells=len(sample.labels),
        with_mn=int(sample.labels.sum()),
        confusion=counts,
        figures=tuple(figures),
        warning=sample.units.warning if resamples else "",
        best_threshold=_best_threshold(ranking, base[0]),
        roc=bands.roc(ranking, base),
        precision_recall=bands.precision_recall(ranking, base),
        stood_for=_stood_for(sample),
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
    if sample.weights is not None:
        found["sensitivity", None] = ratio(weights @ (sample.called & sample.labels), weights @ sample.labels)
        found["specificity", None] = ratio(weights @ (~sample.called & ~sample.labels), weights @ ~sample.labels)
    return found


def bootstrap_figure(key: tuple[str, float | None], value: float, over: Floats, method: str) -> Figure:
    """A figure with the percentile interval of its resamples.

    Args:
        key: name and stated prevalence; value: NaN where it is undefined; over: of the resamples, (m,).
    """
    interval = percentile_interval(over)
    if np.isnan(value):
        return Figure(name=key[0], value=None, low=None, high=None, method="", prevalence=key[1])
    low, high = interval or (None, None)
    return Figure(name=key[0], value=value, low=low, high=high, method=method if interval else "", prevalence=key[1])


def weighted_figure(key: tuple[str, float | None], value: float, over: Floats, method: str) -> Figure:
    """`bootstrap_figure` of drawn cells: without an interval where the resamples do not differ."""
    figure = bootstrap_figure(key, value, over, method)
    if figure.value is None or figure.low is None or figure.high is None:
        return figure if figure.value is None else replace(figure, method=WEIGHTED)
    if figure.high - figure.low > _ROUNDING:
        return figure
    return replace(figure, low=None, high=None, method=f"{ALIKE}; {WEIGHTED}")


def _stood_for(sample: Sample) -> StoodFor | None:
    if sample.weights is None:
        return None
    weights, called, labels = sample.weights, sample.called, sample.labels
    return StoodFor(
        true_positive=float(weights[called & labels].sum()),
        false_negative=float(weights[~called & labels].sum()),
        true_negative=float(weights[~called & ~labels].sum()),
        false_positive=float(weights[called & ~labels].sum()),
    )


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


def _best_threshold(ranking: Ranking, base: Floats) -> float | None:
    """The highest score at or above which calling MN gives the largest F1."""
    true_positive, false_positive = ranking.counts(base)
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

    def roc(self, ranking: Ranking, base: Floats) -> Curve | None:
        if not self.wanted:
            return None
        true_positive, false_positive = (count[0] for count in ranking.counts(base))
        return Curve(*roc_points(true_positive, false_positive), *_band(self._roc))

    def precision_recall(self, ranking: Ranking, base: Floats) -> Curve | None:
        if not self.wanted:
            return None
        true_positive, false_positive = (count[0] for count in ranking.counts(base))
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
    # Quotients of sums are rounded: 1e-12 keeps 0.3 from missing 0.3.
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
