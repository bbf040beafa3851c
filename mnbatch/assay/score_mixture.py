"""How many cells of a slide have a micronucleus, from all its scores instead of from the calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Scores of cells whose truth is known, counted in bins: what a model card or a laboratory's own cells say of them.


EDGES: tuple[float, ...] = (
    0.0,
    0.001,
    0.003,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.3,
    0.4,
    0.5,
    0.6,
    0.7,
    0.8,
    0.9,
    0.95,
    0.98,
    0.99,
    0.997,
    0.999,
    1.0,
)
"""Limits of the bins: fine at both ends, where a network's scores are."""

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ScoreHistogram:
    """Cells by score, apart for each true class.

    Attributes:
        edges: limits of the bins, rising from 0 to 1; a bin holds its lower limit, the last one both.
        mn, nomn: cells with and without a micronucleus in each bin.
        data: which cells these were.

    Raises:
        ValueError: the numbers do not make a histogram of at least one cell of each class.
    """

    edges: tuple[float, ...]
    mn: tuple[int, ...]
    nomn: tuple[int, ...]
    data: str

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.edges, self.edges[1:], strict=False))
        if len(self.edges) < 3 or self.edges[0] != 0 or self.edges[-1] != 1 or not rising:
            raise ValueError("the limits of a score histogram rise from 0 to 1 over at least two bins")
        if not len(self.mn) == len(self.nomn) == len(self.edges) - 1:
            raise ValueError("a score histogram has one count a bin for each class")
        if min(*self.mn, *self.nomn) < 0 or not sum(self.mn) or not sum(self.nomn):
            raise ValueError("a score histogram has cells of both classes, and no negative count")

    @property
    def split(self) -> int:
        """First bin of the scores from `SPLIT` on."""
        return int(np.searchsorted(self.edges, SPLIT))

    @classmethod
    def of(
        cls, scores: Sequence[float], truth: Sequence[bool], data: str, edges: tuple[float, ...] = EDGES
    ) -> ScoreHistogram:
        """Histogram of scored cells; `truth` says which of them have a micronucleus."""
        p, has_mn = np.asarray(scores, float), np.asarray(truth, bool)
        mn, nomn = count_scores(p[has_mn], edges), count_scores(p[~has_mn], edges)
        return cls(edges, tuple(mn.tolist()), tuple(nomn.tolist()), data)


def count_scores(scores: npt.ArrayLike, edges: Sequence[float]) -> Counts:
    """Scores in each bin, int64 (len(edges) - 1,)."""
    counted: Counts = np.histogram(np.asarray(scores, float), bins=np.asarray(edges))[0].astype(np.int64)
    return counted


def joined(histogram: ScoreHistogram, slide: Counts, most: int = 8) -> tuple[Counts, Counts, Counts]:
    """Join neighbouring bins until each holds enough cells of known truth to say something.

    Each joined bin has at least 1 / `most` of the weight, where both classes weigh alike.

    Args:
        histogram: cells of known truth.
        slide: the slide's cells in the same bins.
        most: joined bins, at most.

    Returns:
        Cells with MN, cells without, and the slide's cells, in the joined bins.
    """
    mn, nomn = np.array(histogram.mn), np.array(histogram.nomn)
    starts = _starts(mn, nomn, most)
    return tuple(np.add.reduceat(counts, starts) for counts in (mn, nomn, slide))  # type: ignore[return-value]


def _starts(mn: Counts, nomn: Counts, most: int = 8) -> list[int]:
    """First bins of the joined bins of `joined`."""
    weight = (mn / mn.sum() + nomn / nomn.sum()) / 2
    starts, held = [0], 0.0
    for i in range(len(weight)):
        held += float(weight[i])
        if held >= 1 / most and float(weight[i + 1 :].sum()) >= 1 / most:
            starts.append(i + 1)
            held = 0.0
    return starts


# How many cells of a slide have a micronucleus, from all its scores instead of from the calls.
#
# Cells of known truth (a model card's validation cells, or a laboratory's own) say how scores are distributed among
# cells with and without a micronucleus. A slide is a mixture of the two; what differs is the mixing proportion, since
# cells with micronuclei are far commoner among validation cells than on a slide. The proportion of largest likelihood
# is what the EM of Saerens, Latinne and Decaestecker (Neural Computation 14:21, 2002) climbs to; there the mean of
# the cells' re-calibrated probabilities equals the proportion, so that the expected count is proportion times cells.
#
# Whether a slide is such a mixture at all is tested: the distance (Pearson) of its scores from the best mixture is
# compared with that of slides drawn from mixtures, with both the slide and the cells of known truth drawn again. Slides
# have scores of their own: where validation slides show how much the share of right calls of a class differs between
# them (standard deviation u sqrt(m (1 - m))), the drawn slides' densities are Dirichlet about those of known truth with
# the concentration 1 / u^2 - 1. Any two parts of a Dirichlet have a beta share: that of called cells then has this u.
# Where the scores of each validation slide are known, the share of scores from 0.5 on, and the scores below and from
# there on, each have a spread of their own: on most slides cells without a micronucleus have scores near 0, and how
# near differs far more between slides than how many are called.


DRAWS = 600
SHIFT_LEVEL = 0.01
"""Below it a slide's scores are reported as outside what the model was validated on."""
SURE = 0.9
"""Scores from it on are one bin of the test: cells with several micronuclei, common at high doses, come nearer to 1."""
SPLIT = 0.5
"""Scores below it and from it on have spreads over slides of their own."""

_SEED = 20020114
_HALVINGS = 28
_PRIOR = 0.5
"""Added to each bin of each class and spread over the bins, so that no bin is impossible for a class."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ExpectedCount:
    """MNBN cells expected from all scores of a slide.

    Attributes:
        fraction: of the cells; low, high: 95 % interval from redrawing the slide's cells and those of known truth.
        cells: scored cells of the slide.
        shift_p: p of a distance from the best mixture at least as large, if the slide were one.
        bins: joined bins that were used.
    """

    fraction: float
    low: float
    high: float
    cells: int
    shift_p: float
    bins: int

    @property
    def count(self) -> float:
        """Expected MNBN cells."""
        return self.fraction * self.cells

    @property
    def shifted(self) -> bool:
        """Whether the scores are outside what the model was validated on."""
        return self.shift_p < SHIFT_LEVEL


@dataclass(frozen=True, slots=True, eq=False)
class ClassSpread:
    """How much the scores of the cells of one class differ between slides.

    Attributes:
        share: draws of the relative spread u over slides of the share of scores from `SPLIT` on (or of right calls); at
            least one, above 0 and below 1.
        below, above: draws of u of the scores below `SPLIT` and from it on, each part for itself; None: `share` holds
            for all bins.
    """

    share: Floats
    below: Floats | None = None
    above: Floats | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SlideSpread:
    """How much slides differ, for the test of a shift.

    Attributes:
        mn, nomn: of cells with and without a micronucleus; sizes: cells of each slide that was summed.
    """

    mn: ClassSpread
    nomn: ClassSpread
    sizes: tuple[int, ...] = (1,)


def expected_count(
    counts: Counts, histogram: ScoreHistogram, level: float = 0.95, spread: SlideSpread | None = None
) -> ExpectedCount:
    """Expected MNBN cells of a slide, with an interval and the test for a shift of the scores.

    Args:
        counts: counted cells of the slide in the bins of `histogram` (see `count_scores`), at least one.
        histogram: cells of known truth, scored by the same model.
        level: of the interval.
        spread: how much slides differ, for the test; None: not at all, which makes it fire too often.

    Raises:
        ValueError: no score.
    """
    cells = int(counts.sum())
    if not cells:
        raise ValueError("a slide without a scored cell has no expected count")
    mn, nomn, slide = joined(histogram, counts)
    rng = np.random.default_rng(_SEED)
    fraction = float(mixing_proportion(slide[None], _density(mn)[None], _density(nomn)[None])[0])
    low, high = _interval(rng, slide, mn, nomn, level)
    p = _shift(rng, histogram, counts, fraction, spread)
    return ExpectedCount(
        fraction=fraction, low=min(low, fraction), high=max(high, fraction), cells=cells, shift_p=p, bins=len(slide)
    )


def mixing_proportion(slide: npt.NDArray[np.generic], mn: Floats, nomn: Floats) -> Floats:
    """Proportion of MN in mixtures of two known densities that makes the counts likeliest.

    The log likelihood is concave in the proportion, so its slope has one zero; it is found by halving.

    Args:
        slide: counts, (draws, bins); mn, nomn: densities over the bins, likewise, positive.

    Returns:
        (draws,), each 0..1.
    """
    low, high = np.zeros(len(slide)), np.ones(len(slide))
    counts = slide.astype(float)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        q = middle[:, None]
        slope = (counts * (mn - nomn) / (q * mn + (1 - q) * nomn)).sum(axis=1)
        low, high = np.where(slope > 0, middle, low), np.where(slope > 0, high, middle)
    return (low + high) / 2


def _density(counts: Counts) -> Floats:
    smoothed: Floats = (counts + _PRIOR / len(counts)) / (counts.sum() + _PRIOR)
    return smoothed


def _interval(
    rng: np.random.Generator,
    slide: Counts,
    mn: Counts,
    nomn: Counts,
    level: float,
) -> tuple[float, float]:
    """Quantiles of the proportion when all three histograms are drawn from their posterior (Dirichlet)."""
    weight = 1 / len(slide)
    drawn_mn = rng.dirichlet(mn + weight, DRAWS) + 1e-12
    drawn_nomn = rng.dirichlet(nomn + weight, DRAWS) + 1e-12
    drawn_slide = rng.dirichlet(slide + weight, DRAWS)
    found = mixing_proportion(drawn_slide, drawn_mn, drawn_nomn)
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _shift(
    rng: np.random.Generator, histogram: ScoreHistogram, counts: Counts, fraction: float, spread: SlideSpread | None
) -> float:
    """Share of slides drawn from mixtures that are at least as far from their best mixture as the slide."""
    tables = np.array(histogram.mn), np.array(histogram.nomn)
    sure = min(int(np.searchsorted(histogram.edges, SURE)), len(tables[0]) - 1)
    starts = [*(start for start in _starts(*tables) if start < sure), sure]
    mn, nomn, slide = (np.add.reduceat(counts, starts) for counts in (*tables, counts))
    f1, f0 = _density(mn), _density(nomn)
    drawn_mn = _densities(rng.multinomial(int(mn.sum()), f1, DRAWS))
    drawn_nomn = _densities(rng.multinomial(int(nomn.sum()), f0, DRAWS))
    if spread is None:
        drawn_slides = rng.multinomial(int(slide.sum()), fraction * f1 + (1 - fraction) * f0, DRAWS)
    else:
        own1, own0 = (
            np.add.reduceat(
                _own_densities(rng, _density(table), of_class, histogram.split, spread.sizes), starts, axis=1
            )
            for table, of_class in zip(tables, (spread.mn, spread.nomn), strict=True)
        )
        drawn_slides = rng.multinomial(int(slide.sum()), fraction * own1 + (1 - fraction) * own0)
    distances = _distance(drawn_slides, drawn_mn, drawn_nomn)
    observed = _distance(slide[None], f1[None], f0[None])[0]
    return float((1 + (distances >= observed * (1 - 1e-9)).sum()) / (DRAWS + 1))


def _own_densities(
    rng: np.random.Generator, density: Floats, spread: ClassSpread, split: int, sizes: Sequence[int]
) -> Floats:
    """(DRAWS, bins): densities of new slides, weighted by their cells."""
    found = np.zeros((DRAWS, len(density)))
    for n in sizes:
        found += n * _own_density(rng, density, spread, split)
    return np.asarray(found / found.sum(axis=1, keepdims=True), dtype=np.float64)


def _own_density(rng: np.random.Generator, density: Floats, spread: ClassSpread, split: int) -> Floats:
    """(DRAWS, bins): densities of one new slide each."""
    if spread.below is None or spread.above is None:
        return _dirichlet(rng, density, spread.share)
    parts = density[:split], density[split:]
    shares = _dirichlet(rng, np.array([part.sum() for part in parts]), spread.share)
    below, above = (
        _dirichlet(rng, part / part.sum(), u) for part, u in zip(parts, (spread.below, spread.above), strict=True)
    )
    return np.hstack([shares[:, :1] * below, shares[:, 1:] * above])


def _dirichlet(rng: np.random.Generator, mean: Floats, u: Floats) -> Floats:
    """(DRAWS, len(mean)) about the mean with relative spreads u; a gamma variable a bin makes a Dirichlet."""
    size = 1 / np.resize(u, DRAWS) ** 2 - 1
    drawn = rng.standard_gamma(size[:, None] * mean) + 1e-12
    return np.asarray(drawn / drawn.sum(axis=1, keepdims=True), dtype=np.float64)


def _densities(counts: Counts) -> Floats:
    smoothed: Floats = (counts + _PRIOR / counts.shape[1]) / (counts.sum(axis=1, keepdims=True) + _PRIOR)
    return smoothed


def _distance(slide: Counts, mn: Floats, nomn: Floats) -> Floats:
    q = mixing_proportion(slide, mn, nomn)[:, None]
    expected = slide.sum(axis=1, keepdims=True) * (q * mn + (1 - q) * nomn)
    distance: Floats = ((slide - expected) ** 2 / expected).sum(axis=1)
    return distance
