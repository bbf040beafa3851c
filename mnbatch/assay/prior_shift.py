"""How many cells of a slide have a micronucleus, from all its scores instead of from the calls.

Cells of known truth (a model card's validation cells, or a laboratory's own) say how scores are distributed among cells
with and without a micronucleus. A slide is a mixture of the two; what differs is the mixing proportion, since cells
with micronuclei are far commoner among validation cells than on a slide. The proportion of largest likelihood is what
the EM of Saerens, Latinne and Decaestecker (Neural Computation 14:21, 2002) climbs to; there the mean of the cells'
re-calibrated probabilities equals the proportion, so that the expected count is proportion times cells.

Whether a slide is such a mixture at all is tested: the distance (Pearson) of its scores from the best mixture is
compared with that of slides drawn from mixtures, with both the slide and the cells of known truth drawn anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mnbatch.assay.score_histogram import Counts, ScoreHistogram, joined

DRAWS = 600
SHIFT_LEVEL = 0.01
"""Below it a slide's scores are said to lie outside what the model was validated on."""

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
        """Whether the scores lie outside what the model was validated on."""
        return self.shift_p < SHIFT_LEVEL


def expected_count(counts: Counts, histogram: ScoreHistogram, level: float = 0.95) -> ExpectedCount:
    """Expected MNBN cells of a slide, with an interval and the test for a shift of the scores.

    Args:
        counts: counted cells of the slide in the bins of `histogram` (see `count_scores`), at least one.
        histogram: cells of known truth, scored by the same model.
        level: of the interval.

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
    p = _shift(rng, slide, mn, nomn, fraction)
    return ExpectedCount(fraction, min(low, fraction), max(high, fraction), cells, p, len(slide))


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
    rng: np.random.Generator,
    slide: Counts,
    mn: Counts,
    nomn: Counts,
    fraction: float,
) -> float:
    f1, f0 = _density(mn), _density(nomn)
    drawn_mn = _densities(rng.multinomial(int(mn.sum()), f1, DRAWS))
    drawn_nomn = _densities(rng.multinomial(int(nomn.sum()), f0, DRAWS))
    drawn_slide = rng.multinomial(int(slide.sum()), fraction * f1 + (1 - fraction) * f0, DRAWS)
    distances = _distance(drawn_slide, drawn_mn, drawn_nomn)
    observed = _distance(slide[None], f1[None], f0[None])[0]
    return float((1 + (distances >= observed * (1 - 1e-9)).sum()) / (DRAWS + 1))


def _densities(counts: Counts) -> Floats:
    smoothed: Floats = (counts + _PRIOR / counts.shape[1]) / (counts.sum(axis=1, keepdims=True) + _PRIOR)
    return smoothed


def _distance(slide: Counts, mn: Floats, nomn: Floats) -> Floats:
    q = mixing_proportion(slide, mn, nomn)[:, None]
    expected = slide.sum(axis=1, keepdims=True) * (q * mn + (1 - q) * nomn)
    distance: Floats = ((slide - expected) ** 2 / expected).sum(axis=1)
    return distance
