"""Whether a donor's slides can have one frequency, and which slide disagrees with the others (MNBN endpoint).

Given all MNBN cells of a donor and the cells of each slide, equal frequencies make the slides' counts hypergeometric.
That is tested exactly for two slides (Fisher), by random tables with the same margins where an expected count is
below 5, and by chi-squared otherwise. A slide is flagged when Fisher's exact test of it against the donor's other
slides, times the number of slides compared (Bonferroni), gives p < 0.01; it is then left out and the rest is tested
again, so that one odd slide does not make the others look odd.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, gammaln

LEVEL = 0.01
DRAWS = 9999
LEAST_EXPECTED = 5.0
_TIE = 1 + 1e-7
_SEED = 20240611
"""Random tables are drawn from a fixed seed: the same slides give the same p."""

Method = Literal["Fisher's exact test", "random tables", "chi-squared test"]


@dataclass(frozen=True, slots=True)
class Heterogeneity:
    """What the slides of a donor say of each other.

    Attributes:
        p_value: of differences at least as large, if all slides had one frequency.
        method: how it was found.
        against_others: of each slide, p of its difference from the other slides together, times their number (at
            most 1).
        spread_known: whether the differences that the model makes between slides are in the tests.
        disagreeing: indices of the slides that are flagged, the oddest first; both where two slides disagree, because
            two cannot say which of them is wrong.
    """

    p_value: float
    method: Method
    against_others: tuple[float, ...]
    disagreeing: tuple[int, ...]
    spread_known: bool = False


def compare_slides(
    mnbn: Sequence[int], cells: Sequence[int], level: float = LEVEL, spread: float | None = None
) -> Heterogeneity | None:
    """Compare the slides of one donor.

    Args:
        mnbn: cells called MN of each slide; cells: BN cells of each slide.
        level: below it a slide is flagged.
        spread: standard deviation of the share called over slides of one frequency, where it is known: a classifier
            differs from slide to slide. Each slide then counts as the fewer cells that have its whole variance.

    Returns:
        None for fewer than two slides with cells.

    Raises:
        ValueError: counts that contradict each other.
    """
    if any(not 0 <= k <= n for k, n in zip(mnbn, cells, strict=True)):
        raise ValueError("a slide has more MNBN cells than cells")
    if sum(n > 0 for n in cells) < 2:
        return None
    if spread is not None:
        mnbn, cells = _as_fewer(mnbn, cells, spread)
    p_value, method = _overall(np.array(mnbn), np.array(cells))
    against = tuple(_against_others(mnbn, cells))
    odd = _odd_ones(mnbn, cells, level, against)
    return Heterogeneity(p_value, method, against, odd, spread is not None)


def _as_fewer(mnbn: Sequence[int], cells: Sequence[int], spread: float) -> tuple[list[int], list[int]]:
    """Counts with the same shares and the variance of counting and of the slides' spread together."""
    share = (sum(mnbn) + 0.5) / (sum(cells) + 1)
    factors = [1 + max(0, n - 1) * spread**2 / (share * (1 - share)) for n in cells]
    fewer = [max(min(n, 1), round(n / f)) for n, f in zip(cells, factors, strict=True)]
    return [min(m, round(k / f)) for k, f, m in zip(mnbn, factors, fewer, strict=True)], fewer


def fisher_two_sided(mnbn: int, cells: int, other_mnbn: int, other_cells: int) -> float:
    """Fisher's exact test of two fractions: probability of all tables that are no likelier."""
    total, drawn = cells + other_cells, mnbn + other_mnbn
    k = np.arange(max(0, drawn - other_cells), min(cells, drawn) + 1)
    log_p = _log_choose(cells, k) + _log_choose(other_cells, drawn - k) - _log_choose(total, np.array([drawn]))
    p = np.exp(log_p)
    return min(1.0, float(p[p <= p[mnbn - k[0]] * _TIE].sum()))


def _overall(mnbn: npt.NDArray[np.int64], cells: npt.NDArray[np.int64]) -> tuple[float, Method]:
    mnbn, cells = mnbn[cells > 0], cells[cells > 0]
    if len(cells) == 2:
        return fisher_two_sided(*_pair(mnbn, cells, 0)), "Fisher's exact test"
    fraction = mnbn.sum() / cells.sum()
    expected = cells * fraction
    if min(expected.min(), (cells - expected).min()) < LEAST_EXPECTED:
        return _random_tables(mnbn, cells, expected), "random tables"
    distance = float(((mnbn - expected) ** 2 / (expected * (1 - fraction))).sum())
    return float(chdtrc(len(cells) - 1, distance)), "chi-squared test"


def _random_tables(
    mnbn: npt.NDArray[np.int64], cells: npt.NDArray[np.int64], expected: npt.NDArray[np.float64]
) -> float:
    drawn = np.random.default_rng(_SEED).multivariate_hypergeometric(
        cells, int(mnbn.sum()), size=DRAWS, method="marginals"
    )
    # Given the margins, chi-squared is this sum times a constant.
    distances = ((drawn - expected) ** 2 / cells).sum(axis=1)
    observed = ((mnbn - expected) ** 2 / cells).sum()
    return float((1 + (distances * _TIE >= observed).sum()) / (DRAWS + 1))


def _against_others(mnbn: Sequence[int], cells: Sequence[int]) -> list[float]:
    k, n = np.array(mnbn), np.array(cells)
    slides = int((n > 0).sum())
    # Of two slides each is the other's other: one comparison, not two.
    comparisons = slides if slides > 2 else 1
    return [min(1.0, comparisons * fisher_two_sided(*_pair(k, n, i))) if n[i] else 1.0 for i in range(len(n))]


def _odd_ones(mnbn: Sequence[int], cells: Sequence[int], level: float, against: Sequence[float]) -> tuple[int, ...]:
    left = [i for i, n in enumerate(cells) if n]
    if len(left) > 2 and min(against[i] for i in left) >= level:
        return ()
    if len(left) == 2:
        p = _against_others([mnbn[i] for i in left], [cells[i] for i in left])
        return tuple(left) if p[0] < level else ()
    odd: list[int] = []
    while len(left) > 2:
        p = _against_others([mnbn[i] for i in left], [cells[i] for i in left])
        worst = int(np.argmin(p))
        if p[worst] >= level:
            break
        odd.append(left.pop(worst))
    return tuple(odd)


def _pair(mnbn: npt.NDArray[np.int64], cells: npt.NDArray[np.int64], i: int) -> tuple[int, int, int, int]:
    return int(mnbn[i]), int(cells[i]), int(mnbn.sum() - mnbn[i]), int(cells.sum() - cells[i])


def _log_choose(n: int, k: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    chosen: npt.NDArray[np.float64] = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return chosen
