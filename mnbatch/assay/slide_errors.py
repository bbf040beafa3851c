"""How a model's errors differ from slide to slide, and the frequency that a count of its calls allows.

A model's sensitivity and specificity are not two numbers: every slide has its own. Validation slides, with the counts
of each, show how much they differ. What a new slide's may be is predicted from them, and a frequency is estimated with
an interval that holds that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, betaln, expit, gammaln, logit, xlog1py, xlogy

from mnbatch.assay.score_mixture import ClassSpread

# A rate (Se or Sp) of slide j is r_j ~ beta with mean m and standard deviation u sqrt(m (1 - m)); its right calls are
# binomial, so beta-binomial over slides. Prior: flat in logit m and flat in u, the relative spread (flat in a standard
# deviation is what Gelman, Bayesian Analysis 1:515, 2006, advises for five groups and more). The posterior on a grid is
# drawn from, and of each draw a new slide's rate: with few slides the draws have the long tails of a t distribution.
# Se and Sp are drawn independently; slides of one donor share m and u and have rates of their own.
#
# Frequency: with t the true share, a slide calls q = t Se + (1 - t)(1 - Sp) of its cells. P(calls >= k | t), averaged
# over the draws, rises with t; the interval holds all t under which neither tail is below (1 - level) / 2, with half
# the probability of the count itself in each tail (mid-p: Lancaster, J Am Stat Assoc 56:223, 1961).

FEWEST_SLIDES = 6
"""Validation slides with cells of a class, below which nothing is said of how that class's rate differs."""
DRAWS = 1500
_SEED = 20060601
_MEANS, _SPREADS = 61, 48
_NARROWEST, _WIDEST = 0.004, 0.7
"""Relative spreads that are considered: a beta distribution beyond it has its mass at both ends, all or nothing."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ValidationSlide:
    """Calls on one slide whose cells have a known truth, at one threshold.

    Attributes:
        n: cells; n_mn: of these, with a micronucleus; called: called MN; right: of the called, with a micronucleus.
        mn_scores, nomn_scores: cells with and without a micronucleus in the bins of a `ScoreHistogram`; () where the
            scores of each slide are not known.
    """

    n: int
    n_mn: int
    called: int
    right: int
    mn_scores: tuple[int, ...] = ()
    nomn_scores: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.right <= min(self.called, self.n_mn) or max(self.called, self.n_mn) > self.n:
            raise ValueError(
                f"{self.right} right of {self.called} called and {self.n_mn} with MN of {self.n} cannot be"
            )

    @property
    def free(self) -> int:
        """Cells without a micronucleus."""
        return self.n - self.n_mn

    @property
    def spared(self) -> int:
        """Of these, not called."""
        return self.free - (self.called - self.right)


@dataclass(frozen=True, slots=True)
class EstimatedFraction:
    """A share of cells with a micronucleus, from calls and what is known of the model's errors.

    Attributes:
        raw: (p + Sp - 1) / (Se + Sp - 1) with the mean rates of a new slide, possibly outside 0..1.
        value: the same within low..high.
        low, high: interval; None where no share explains the count (too few or too many calls for these rates).
        se, sp: these mean rates.
    """

    raw: float
    value: float
    low: float | None
    high: float | None
    se: float
    sp: float


def too_few(slides: Sequence[ValidationSlide]) -> str:
    """Why these slides do not show how the rates differ; "" where they do."""
    if not slides:
        return "it is not known how the model's errors differ from slide to slide"
    with_mn, free = sum(s.n_mn > 0 for s in slides), sum(s.free > 0 for s in slides)
    if min(with_mn, free) < FEWEST_SLIDES:
        number = min(with_mn, free)
        only = f"{number} validation slide{'s' * (number != 1)} with cells of both classes"
        return (
            f"it is not known how the model's errors differ from slide to slide: {only}, and {FEWEST_SLIDES} are needed"
        )
    return ""


def estimate_fraction(
    called: int, sizes: Sequence[int], slides: Sequence[ValidationSlide], level: float = 0.95
) -> EstimatedFraction:
    """Share of cells with a micronucleus on the slides of one donor.

    Args:
        called: cells called MN on all of them; sizes: cells of each.
        slides: validation slides of the same model at the same threshold.

    Raises:
        ValueError: no cells, contradictory counts, or too few validation slides (`too_few`).
    """
    cells = sum(sizes)
    if cells < 1 or not 0 <= called <= cells or too_few(slides):
        raise ValueError(too_few(slides) or f"{called} of {cells} is not a count of events among cells")
    se, sp = predicted_rates(tuple(slides), tuple(sorted(n for n in sizes if n)))
    mean_se, mean_sp = float(se.mean()), float(sp.mean())
    raw = (called / cells + mean_sp - 1) / (mean_se + mean_sp - 1)
    low, high = _invert(called, cells, se, sp, (1 - level) / 2)
    value = min(1.0, max(0.0, raw)) if low is None or high is None else min(high, max(low, raw))
    return EstimatedFraction(raw=raw, value=value, low=low, high=high, se=mean_se, sp=mean_sp)


def predicted_spread(slides: Sequence[ValidationSlide], share: float = 0.0) -> float:
    """Standard deviation over new slides of the share that is called, of cells of which `share` have a micronucleus."""
    se, sp = predicted_rates(tuple(slides), (1,))
    return float(np.std(share * se + (1 - share) * (1 - sp)))


@lru_cache(maxsize=512)
def predicted_rates(slides: tuple[ValidationSlide, ...], sizes: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Draws of the sensitivity and specificity of a donor's new slides, means weighted by `sizes`; (DRAWS,) each."""
    rng = np.random.default_rng(_SEED)
    weight = np.array(sizes, float) / sum(sizes)
    se = _draws(rng, [(s.right, s.n_mn) for s in slides if s.n_mn], len(sizes)) @ weight
    sp = _draws(rng, [(s.spared, s.free) for s in slides if s.free], len(sizes)) @ weight
    return se, sp


@lru_cache(maxsize=512)
def score_spreads(slides: tuple[ValidationSlide, ...], split: int) -> tuple[ClassSpread, ClassSpread]:
    """How much the scores of cells with and without a micronucleus differ over slides.

    Where the slides carry their scores, counts in bins are Dirichlet-multinomial over slides about the pooled density,
    for the share from `split` on and for the bins on each side of it; u with a flat prior, as for the rates. Where they
    do not, the spread of right calls holds for all bins.

    Args:
        split: first bin of the scores from `score_mixture.SPLIT` on.

    Raises:
        ValueError: too few validation slides (`too_few`).
    """
    if too_few(slides):
        raise ValueError(too_few(slides))
    rng = np.random.default_rng(_SEED)
    if not all(slide.mn_scores and slide.nomn_scores for slide in slides):
        right = [(s.right, s.n_mn) for s in slides if s.n_mn], [(s.spared, s.free) for s in slides if s.free]
        return tuple(ClassSpread(_relative_spread(*_parameters(rng, counts))) for counts in right)  # type: ignore[return-value]
    tables = (np.array([getattr(slide, name) for slide in slides], float) for name in ("mn_scores", "nomn_scores"))
    return tuple(_class_spread(rng, table, split) for table in tables)  # type: ignore[return-value]


def _class_spread(rng: np.random.Generator, table: Floats, split: int) -> ClassSpread:
    """Of the counts of one class, (slides, bins)."""
    parts = table[:, :split], table[:, split:]
    share, below, above = (
        _spread_draws(rng, counts) for counts in (np.stack([part.sum(axis=1) for part in parts], axis=1), *parts)
    )
    return ClassSpread(share, below, above)


def _spread_draws(rng: np.random.Generator, table: Floats) -> Floats:
    """Draws of u of Dirichlet-multinomial counts, (slides, bins), about their pooled density, (DRAWS,)."""
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    spread = np.linspace(_NARROWEST, _WIDEST, _SPREADS)
    if table.size == 0 or table.shape[1] < 2:
        return np.full(DRAWS, _WIDEST)  # nothing is known of how this part differs
    n, mean = table.sum(axis=1), table.sum(axis=0) / table.sum()
    size = (1 / spread**2 - 1)[:, None]
    log_p = (gammaln(size) - gammaln(size + n)).sum(axis=1)
    bins = size * mean
    log_p += sum((gammaln(bins + row) - gammaln(bins)).sum(axis=1) for row in table)
    return spread[_systematic(rng, log_p)]


def _relative_spread(a: Floats, b: Floats) -> Floats:
    """u of beta distributions."""
    return np.asarray(1 / np.sqrt(a + b + 1), dtype=np.float64)


def _systematic(rng: np.random.Generator, log_p: Floats) -> npt.NDArray[np.int64]:
    """(DRAWS,) positions, each part of a posterior as often as its share, to one draw."""
    p = np.exp(log_p - np.max(log_p))
    places = np.searchsorted(np.cumsum(p) / p.sum(), (np.arange(DRAWS) + rng.random()) / DRAWS)
    return rng.permutation(np.minimum(places, len(p) - 1))


def _draws(rng: np.random.Generator, counts: Sequence[tuple[int, int]], slides: int) -> Floats:
    """(DRAWS, slides) rates of new slides."""
    a, b = _parameters(rng, counts)
    found: Floats = rng.beta(a[:, None], b[:, None], size=(DRAWS, slides))
    return found


def _parameters(rng: np.random.Generator, counts: Sequence[tuple[int, int]]) -> tuple[Floats, Floats]:
    """Draws of the parameters of the beta distribution of a slide's rate, (DRAWS,) each."""
    right, total = (np.array(column, float) for column in zip(*counts, strict=True))
    mean, spread = _grid(right, total)
    m, u = np.meshgrid(mean, spread, indexing="ij")
    size = 1 / u**2 - 1
    a, b = m * size, (1 - m) * size
    wrong = total - right
    log_p = sum(betaln(a + x, b + y) - betaln(a, b) for x, y in zip(right, wrong, strict=True))
    drawn = _systematic(rng, np.asarray(log_p).ravel())
    return a.ravel()[drawn], b.ravel()[drawn]


def _grid(right: Floats, total: Floats) -> tuple[Floats, Floats]:
    """Means (logit steps round the pooled rate, wide enough for its own error) and relative spreads."""
    logits = logit((right + 0.5) / (total + 1))
    centre = float(logit((right.sum() + 0.5) / (total.sum() + 1)))
    wrong = float(min(right.sum(), (total - right).sum()))
    half = 8 * float(np.std(logits)) / len(right) ** 0.5 + 6 / (wrong + 1) ** 0.5
    mean = expit(centre + half * np.linspace(-1, 1, _MEANS))
    return np.asarray(mean, dtype=np.float64), np.linspace(_NARROWEST, _WIDEST, _SPREADS)


def _invert(called: int, cells: int, se: Floats, sp: Floats, tail: float) -> tuple[float | None, float | None]:
    """Limits of the share; (None, None) where none explains the count."""

    ways = gammaln(cells + 1) - gammaln(called + 1) - gammaln(cells - called + 1)

    def at_least(share: float) -> float:
        q = np.clip(share * se + (1 - share) * (1 - sp), 0.0, 1.0)
        or_more = betainc(called, cells - called + 1, q) if called > 0 else np.ones_like(q)
        same = np.exp(ways + xlogy(called, q) + xlog1py(cells - called, -q))
        return float((or_more - same / 2).mean())

    if at_least(0.0) > 1 - tail or at_least(1.0) < tail:
        return None, None
    return _solve(at_least, tail), _solve(at_least, 1 - tail)


def _solve(rises: Callable[[float], float], target: float) -> float:
    """Where a function that rises over 0..1 reaches the target; an end where it does not."""
    if rises(0.0) >= target:
        return 0.0
    if rises(1.0) <= target:
        return 1.0
    from scipy.optimize import brentq  # takes longer to load than a report where nothing changed

    return float(brentq(lambda share: rises(share) - target, 0.0, 1.0, xtol=1e-6))
