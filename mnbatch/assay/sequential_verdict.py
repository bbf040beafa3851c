"""Whether a donor's frequency is above or below a limit, decided while a person looks: an error that holds at any time.

A person looks at cells of a queue one by one and may stop as soon as it is clear. An interval that is right for one
planned number of looks is wrong too often when it is looked at after each of them; a confidence sequence is right at
all times together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, betaln, gammaln

# Strata: cells of one slide that were called, are near the threshold, or are of the rest; each in random order. Of the
# M cells of a stratum t were looked at and s have a micronucleus; how many of the M have one, c, is not known.
#
# Confidence sequence: the ratio R_t(c) = prior(c) / posterior_t(c) is a martingale (at its end a supermartingale) of
# mean 1 under the true c, for cells drawn in random order without replacement (Waudby-Smith and Ramdas, "Confidence
# sequences for sampling without replacement", NeurIPS 2020). So by Ville's inequality R_t exceeds 1 / e at any time
# with a probability of at most e. The prior is beta-binomial and only decides how soon the sequence is narrow, never
# whether it holds. Of several strata the product of the ratios is a martingale, whatever order they are looked at in,
# as long as that order looks at nothing but what was seen before. The total T over strata is then between the least
# and the largest sum of c under which the product is at most 1 / e (sums by min-plus convolution of the logarithms).
#
# Verdict: the cells are a sample of the donor's. Above f_0 where P(K >= T_low | N, f_0) <= e', below where
# P(K <= T_high | N, f_0) <= e' (binomial). Where f_0 is read off a curve, it is between two limits, each of which fails
# with e''; "above" is tested at the upper one, "below" at the lower one. Whatever the truth, one of the two verdicts is
# wrong; by the union bound it is given with at most e + e' + e''.

Word = Literal["above", "below", "open"]
Floats = npt.NDArray[np.float64]

ERROR = 0.01
"""Of a verdict, at most."""
PRIORS = {"called": (0.5, 0.5), "band": (0.2, 4.0), "rest": (0.1, 8.0)}
"""Parameters of the beta-binomial priors: how many cells have a micronucleus is more or less known before."""
_OTHER = (0.5, 0.5)
_MOST_STEPS = 4000


@dataclass(frozen=True, slots=True)
class Looks:
    """What was seen in one stratum, in the order of the queue, up to the first cell that was not decided.

    Attributes:
        kind: called, band or rest.
        size: cells in the stratum.
        looked: of these, decided; mn: with a micronucleus.
        drawn: of these, in the queue; None: all.
        doubtful: unsure or not scorable: they count as without a micronucleus for "above" and as with one for "below".
    """

    kind: str
    size: int
    looked: int = 0
    mn: int = 0
    doubtful: int = 0
    drawn: int | None = None

    @property
    def left(self) -> int:
        """Cells of the queue that were not looked at."""
        return (self.size if self.drawn is None else self.drawn) - self.looked

    def __post_init__(self) -> None:
        if not 0 <= self.mn + self.doubtful <= self.looked <= self.size or min(self.mn, self.doubtful) < 0:
            raise ValueError(f"{self.mn} + {self.doubtful} of {self.looked} looked at of {self.size} cannot be")


@dataclass(frozen=True, slots=True)
class Threshold:
    """The frequency in question, a share of cells.

    Attributes:
        low, high: limits of it; equal for a frequency that was stated.
        error: probability that it is above `high`, and that it is below `low`, each.
    """

    low: float
    high: float
    error: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 1:
            raise ValueError(f"{self.low} to {self.high} are no limits of a share of cells")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict after so many looks.

    Attributes:
        error: of a wrong verdict, at most.
        low, high: cells with a micronucleus among `cells`, at all times together.
    """

    word: Word
    looks: int
    error: float
    low: int
    high: int
    cells: int


def decide(strata: Sequence[Looks], cells: int, threshold: Threshold, error: float = ERROR) -> Verdict:
    """The verdict that these looks allow.

    Args:
        strata: all cells that may have a micronucleus; cells of no stratum count as without one.
        cells: N, all cells that were scored.
        error: of a wrong verdict, at most; of what the threshold leaves half is for the looks, half for counting.

    Raises:
        ValueError: no cells, more in the strata than there are, or an error that the threshold uses up.
    """
    if cells < 1 or sum(s.size for s in strata) > cells:
        raise ValueError(f"{sum(s.size for s in strata)} cells in strata of {cells} cannot be")
    half = _half(error, threshold)
    low, high = total_limits(strata, half)
    word = _word(low, high, cells, threshold, half)
    return Verdict(word=word, looks=sum(s.looked for s in strata), error=error, low=low, high=high, cells=cells)


def can_decide(strata: Sequence[Looks], cells: int, threshold: Threshold, error: float = ERROR) -> bool:
    """Whether the rest of the queue, all of it with a micronucleus or all without, could decide."""
    half = _half(error, threshold)
    with_mn = [replace(s, looked=s.looked + s.left, mn=s.mn + s.left) for s in strata]
    without = [replace(s, looked=s.looked + s.left) for s in strata]
    ends = (_word(*total_limits(end, half), cells, threshold, half) for end in (with_mn, without))
    return any(word != "open" for word in ends)


def _half(error: float, threshold: Threshold) -> float:
    half = (error - threshold.error) / 2
    if not 0 < half < 0.5:
        raise ValueError(f"an error of {error:g} leaves nothing beside that of the threshold, {threshold.error:g}")
    return half


def _word(low: int, high: int, cells: int, threshold: Threshold, error: float) -> Word:
    if low > 0 and betainc(low, cells - low + 1, threshold.high) <= error:
        return "above"
    if high < cells and 1 - betainc(high + 1, cells - high, threshold.low) <= error:
        return "below"
    return "open"


def total_limits(strata: Sequence[Looks], error: float) -> tuple[int, int]:
    """Limits of the number of cells with a micronucleus in all strata; each fails at any time with at most `error`.

    Doubtful cells are without one for the lower limit and with one for the upper: each limit has its own sequence.
    """
    most = math.log(1 / error)
    low = _least_sum([_log_ratios(s.kind, s.size, s.looked, s.mn) for s in strata], most)
    high = _largest_sum([_log_ratios(s.kind, s.size, s.looked, s.mn + s.doubtful) for s in strata], most)
    return low, high


@lru_cache(maxsize=8192)
def _log_ratios(kind: str, size: int, looked: int, mn: int) -> Floats:
    """log(prior / posterior) of each number c from 0 to `size`; infinite where it cannot be."""
    a, b = PRIORS.get(kind, _OTHER)
    c = np.arange(size + 1, dtype=np.float64)
    found = np.full(size + 1, np.inf)
    possible = (c >= mn) & (c <= size - looked + mn)
    k = c[possible]
    prior = _beta_binomial(k, size, a, b)
    posterior = _beta_binomial(k - mn, size - looked, a + mn, b + looked - mn)
    found[possible] = prior - posterior
    return found


def _beta_binomial(k: Floats, n: int, a: float, b: float) -> Floats:
    """Log probability."""
    ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return np.asarray(ways + betaln(a + k, b + n - k) - betaln(a, b), dtype=np.float64)


def _least_sum(ratios: Sequence[Floats], most: float) -> int:
    """The smallest sum of places, one of each array, whose values together are at most `most`."""
    return _place(ratios, most, first=True)


def _largest_sum(ratios: Sequence[Floats], most: float) -> int:
    return _place(ratios, most, first=False)


def _place(ratios: Sequence[Floats], most: float, first: bool) -> int:
    """Sums by min-plus convolution; of each array only places that can be part of an allowed sum are kept."""
    least = [float(r.min()) for r in ratios]
    total, start = np.zeros(1), 0
    for i, ratio in enumerate(ratios):
        room = most - sum(least) + least[i]
        kept = np.flatnonzero(ratio <= room)
        part, offset = ratio[kept[0] : kept[-1] + 1], int(kept[0])
        total = _min_plus(total, part)
        start += offset
    allowed = np.flatnonzero(total <= most)
    return start + int(allowed[0] if first else allowed[-1])


def _min_plus(one: Floats, other: Floats) -> Floats:
    short, long = sorted((one, other), key=len)
    found = np.full(len(one) + len(other) - 1, np.inf)
    for i, value in enumerate(short):
        if np.isfinite(value):
            np.minimum(found[i : i + len(long)], long + value, out=found[i : i + len(long)])
    return found


# Which cell next, and how many.


def next_stratum(strata: Sequence[Looks], cells: int, threshold: Threshold) -> int | None:
    """The stratum in which a look brings the verdict nearest; None where the queue is at its end.

    Where the donor is likelier above, the stratum with most micronuclei to be found for the looks it takes: they raise
    the lower limit. Else that of which most may have one. It depends on nothing but what was seen, as the sequence
    requires.
    """
    left = [i for i, s in enumerate(strata) if s.left > 0]
    if not left:
        return None
    expected = sum(s.mn + (s.size - s.looked) * _mean(s) for s in strata)
    if expected > cells * (threshold.low + threshold.high) / 2:
        return max(left, key=lambda i: (strata[i].left * _mean(strata[i]) / (strata[i].looked + 10), -i))
    return max(left, key=lambda i: (_unexplained(strata[i]), -i))


def _mean(stratum: Looks) -> float:
    """Expected share with a micronucleus of the cells that were not looked at."""
    a, b = PRIORS.get(stratum.kind, _OTHER)
    return (a + stratum.mn) / (a + b + stratum.looked)


def _unexplained(stratum: Looks) -> float:
    """How far the upper limit of the stratum is above what is expected, a look taken already."""
    return (stratum.size - stratum.looked) * (_mean(stratum) + 2.0 / (stratum.looked + 2)) / (stratum.looked + 10)


def expected_looks(strata: Sequence[Looks], cells: int, threshold: Threshold, error: float = ERROR) -> int | None:
    """Looks that a verdict still takes if cells come as they are expected to; None where no number of looks gives one.

    Each step looks at some cells of the next stratum, of which the expected share has a micronucleus.
    """
    if not can_decide(strata, cells, threshold, error):
        return None
    now, looks = list(strata), 0
    carried = [0.0] * len(now)
    for _ in range(_MOST_STEPS):
        verdict = decide(now, cells, threshold, error).word
        if verdict != "open":
            return looks
        place = next_stratum(now, cells, threshold)
        if place is None:
            return None
        s = now[place]
        step = min(s.left, max(1, looks // 8))
        carried[place] += step * _mean(s)
        found = min(int(carried[place] + 0.5), step)
        carried[place] -= found
        now[place] = replace(s, looked=s.looked + step, mn=s.mn + found)
        looks += step
    return None
