"""The frequency behind called cells that a person confirmed, and a random sample of the cells that were not called.

The confirmed cells alone are a lower bound: what the model missed is not among them. Two things bound that: what
validation slides say of the sensitivity of a new slide, and what a person finds in a random sample of the negatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.special import xlog1py, xlogy

from mnbatch.assay.reader_slips import NO_SLIPS, Slips
from mnbatch.assay.slide_errors import ValidationSlide, predicted_rates, too_few

# With t the true share, n cells and the sensitivity Se, the confirmed cells are c ~ binomial(n, t Se). A negative has a
# micronucleus with q = t (1 - Se) n / M, M negatives, and of m random ones f ~ binomial(m, q). Over several slides c,
# f, n and m are sums, Se is the mean weighted by cells, and n / M the mean weighted by m: the expected counts are those
# sums whatever the share of each slide that was drawn.
#
# Prior: Jeffreys' of a binomial share for t (flat in its root); for Se the predictive draws of new slides
# (`slide_errors.predicted_rates`), or every value alike where that is not known. The posterior of t is a sum over the
# draws on a grid; the interval has equal tails, and begins at 0 where nothing was found at all. The estimate is the t
# of the largest likelihood, averaged over the draws.
#
# Slips: a reader with the slip rate e says MN of a share p (1 - e) + (1 - p) e. Rates of called cells and of others are
# drawn from what double readings say (`reader_slips`); a cell that two people decided alike has none.

LEAST_UNKNOWN = 100
"""Random negatives without which there is no frequency where the sensitivity is not known slide by slide."""
SIZES = (100, 200, 400, 800)
"""Numbers of random negatives that a plan may propose, of a donor."""
WORTH = 0.15
"""Twice as many are proposed where they narrow the interval by this share or more."""
DESIGN = (0.01, 0.06)
"""Shares of cells with micronuclei that a plan is made for: an unexposed person, and about 1 Gy."""
ASSUMED_SE = 0.85
"""Sensitivity that a plan is made for where none is known."""
_DRAWS = 150
"""Values of the sensitivity: means of neighbouring draws, in order."""
_COARSE, _FINE = 40, 80

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SeenSlide:
    """What a person saw of one slide: all called cells, and a random sample of the others.

    Attributes:
        called, negatives: cells of the slide; all called ones were looked at.
        confirmed, called_unsure, called_unscorable: of the called.
        looked, found, unsure, unscorable: of the negatives.
        called_twice, twice: of the called and of the looked at, decided by two people.
    """

    called: int
    negatives: int
    confirmed: float
    looked: int
    found: float
    called_unsure: int = 0
    called_unscorable: int = 0
    unsure: int = 0
    unscorable: int = 0
    called_twice: int = 0
    twice: int = 0


@dataclass(frozen=True, slots=True)
class ConfirmedFraction:
    """Share of cells with a micronucleus, with its interval.

    Attributes:
        se_slides: validation slides that the sensitivity was known from; 0: from the random negatives alone.
    """

    value: float
    low: float
    high: float
    se_slides: int


def why_no_confirmed(seen: Sequence[SeenSlide], slides: Sequence[ValidationSlide]) -> str:
    """Why called cells that were confirmed give no frequency; "" where they do."""
    if sum(s.called - s.called_unscorable + s.negatives for s in seen) < 1:
        return "no cell can be scored"
    unknown, looked = too_few(slides), sum(s.looked - s.unscorable for s in seen)
    least = min(LEAST_UNKNOWN, sum(s.negatives for s in seen))
    if any(s.negatives and not s.looked for s in seen) and unknown:
        looked = 0
    if unknown and looked < least:
        return (
            f"{unknown}, and {looked} random negatives were looked at: {least} are needed, since confirmed cells "
            "alone are a lower bound"
        )
    return ""


def confirmed_fraction(
    seen: Sequence[SeenSlide], slides: Sequence[ValidationSlide], slips: Slips = NO_SLIPS, level: float = 0.95
) -> ConfirmedFraction:
    """Share of cells with a micronucleus on the slides of one donor.

    Unsure called cells count as the model called them and unsure negatives as none; the interval holds both answers.

    Args:
        seen: of each slide; slides: validation slides of the same model at the same threshold.

    Raises:
        ValueError: nothing bounds what was missed (`why_no_confirmed`).
    """
    reason = why_no_confirmed(seen, slides)
    if reason:
        raise ValueError(reason)
    known = not too_few(slides)
    sizes = tuple(sorted(s.called + s.negatives for s in seen if s.called + s.negatives))
    se = _in_order(predicted_rates(tuple(slides), sizes)[0]) if known else (np.arange(_DRAWS) + 0.5) / _DRAWS
    value, low, high = _posterior(_sums(seen, called_unsure=True, unsure=False), se, slips, level)
    if any(s.called_unsure for s in seen):
        low = _posterior(_sums(seen, called_unsure=False, unsure=False), se, slips, level)[1]
    if any(s.unsure for s in seen):
        high = _posterior(_sums(seen, called_unsure=True, unsure=True), se, slips, level)[2]
    return ConfirmedFraction(min(high, max(low, value)), low, high, len(slides) if known else 0)


def _in_order(draws: Floats) -> Floats:
    """Fewer values with the same mean: neighbouring draws averaged."""
    return np.asarray(np.sort(draws).reshape(_DRAWS, -1).mean(axis=1), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums over slides. n: scorable cells; c: confirmed; k: called; m: looked at; f: found; r: n / M weighted by m."""

    n: float
    c: float
    k: float
    m: float
    f: float
    r: float
    once_called: float
    once: float


def _sums(seen: Sequence[SeenSlide], *, called_unsure: bool, unsure: bool) -> _Sums:
    n = c = k = m = f = weighted = twice_called = twice = 0.0
    for s in seen:
        looked = s.looked - s.unscorable
        called = s.called - s.called_unscorable
        negatives = s.negatives * (looked / s.looked if s.looked else 1.0)
        cells = called + negatives
        n, k, c = n + cells, k + called, c + s.confirmed + (s.called_unsure if called_unsure else 0)
        m, f = m + looked, f + s.found + (s.unsure if unsure else 0)
        weighted += looked * cells / negatives if negatives else 0.0
        twice_called, twice = twice_called + s.called_twice, twice + s.twice
    return _Sums(
        n=n,
        c=c,
        k=k,
        m=m,
        f=f,
        r=weighted / m if m else 1.0,
        once_called=1 - min(1.0, twice_called / k) if k else 0.0,
        once=1 - min(1.0, twice / m) if m else 0.0,
    )


def _posterior(x: _Sums, se: Floats, slips: Slips, level: float) -> tuple[float, float, float]:
    """Estimate and limits of t."""
    e_called = slips.called.draws(len(se), 1) * x.once_called
    e_others = slips.others.draws(len(se), 2) * x.once
    roots = np.linspace(0.0, 1.0, _COARSE + 1)[1:]
    log_p = _marginal(x, se, e_called, e_others, roots**2)
    inside = roots[log_p > log_p.max() - 16]
    start, end = max(0.0, inside[0] - 1 / _COARSE), min(1.0, inside[-1] + 1 / _COARSE)
    edges = np.linspace(start, end, _FINE + 1)
    middle = (edges[1:] + edges[:-1]) / 2
    log_p = _marginal(x, se, e_called, e_others, middle**2)
    share = np.concatenate([[0.0], np.cumsum(np.exp(log_p - log_p.max()))])
    low, high = np.interp([(1 - level) / 2, (1 + level) / 2], share / share[-1], edges) ** 2
    nothing = x.c + x.f == 0
    value = 0.0 if nothing else float(middle[int(np.argmax(log_p))] ** 2)
    everything = not nothing and end == 1.0 and int(np.argmax(log_p)) == len(log_p) - 1
    lowest = 0.0 if nothing or log_p[0] == log_p.max() else float(low)
    return value, lowest, 1.0 if everything else float(high)


def _marginal(x: _Sums, se: Floats, e_called: Floats, e_others: Floats, share: Floats) -> Floats:
    """Log likelihood of each share, averaged over the draws; both up to a constant."""
    t = share[:, None]
    right = t * se
    says = right * (1 - e_called) + np.maximum(x.k / x.n - right, 0.0) * e_called
    log_l = xlog1py(x.n - x.c, -np.minimum(says, 1.0)) + (xlogy(x.c, says) if x.c else 0.0)
    if x.m:
        q = np.minimum(t * (1 - se) * x.r, 1.0)
        says = q + e_others * (1 - 2 * q)
        log_l = log_l + xlog1py(x.m - x.f, -np.minimum(says, 1.0)) + (xlogy(x.f, says) if x.f else 0.0)
    top = log_l.max(axis=1)
    finite = np.isfinite(top)
    mean = np.exp(log_l - np.where(finite, top, 0.0)[:, None]).mean(axis=1)
    return np.where(finite, top + np.log(np.where(finite, mean, 1.0)), -np.inf)


@dataclass(frozen=True, slots=True)
class Proposal:
    """How many random negatives of a donor a plan proposes, and what follows from it.

    Attributes:
        negatives: the number; cells: of a donor that it was computed for.
        se: (estimate, low, high) of a new slide's sensitivity, 95 %; None where it is not known, for the `reason`.
        widths: (negatives, width per cell at the higher of `DESIGN`) of each number that was compared.
    """

    negatives: int
    cells: int
    se: tuple[float, float, float] | None
    reason: str
    widths: tuple[tuple[int, float], ...]


def propose_negatives(slides: Sequence[ValidationSlide], cells: int) -> Proposal:
    """The smallest of `SIZES` for which twice as many would narrow the interval by less than `WORTH`.

    Both shares of `DESIGN` are looked at, with the counts that are expected there.

    Args:
        slides: validation slides of the model; cells: counted of a donor.
    """
    reason, n = too_few(slides), max(cells, 2 * SIZES[0])
    draws = None if reason else predicted_rates(tuple(slides), (1,))[0]
    se = ASSUMED_SE if draws is None else float(draws.mean())
    sizes = [size for size in SIZES if size <= 0.9 * n] or [SIZES[0]]
    widths = {size: [_expected_width(n, share, se, size, slides) for share in DESIGN] for size in sizes}
    chosen = sizes[-1]
    for size, double in pairwise(sizes):
        if all(b > (1 - WORTH) * a for a, b in zip(widths[size], widths[double], strict=True)):
            chosen = size
            break
    known = None if draws is None else (se, *(float(q) for q in np.quantile(draws, [0.025, 0.975])))
    shown = tuple((size, widths[size][-1]) for size in sizes)
    return Proposal(chosen, cells, known, reason, shown)  # type: ignore[arg-type]


def _expected_width(cells: int, share: float, se: float, looked: int, slides: Sequence[ValidationSlide]) -> float:
    called = round(cells * share * se)
    missed = cells * share * (1 - se) / (cells - called)
    seen = SeenSlide(called, cells - called, called, looked, looked * missed)
    found = confirmed_fraction([seen], slides)
    return found.high - found.low
