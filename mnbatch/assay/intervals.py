"""Exact intervals and tests of a fraction or a count, and what more cells would bring."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, betaincinv, gammainc, gammaincinv, gammaln, pdtrik, xlog1py, xlogy

# Exact and score intervals: of a binomial fraction (the MNBN endpoint) and of a Poisson count (MN).


def clopper_pearson(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Exact two-sided interval of a binomial fraction (Clopper and Pearson, Biometrika 26:404, 1934).

    Args:
        successes: counted events, 0..trials.
        trials: counted cells, at least 1.
        level: confidence, 0..1.

    Returns:
        (lower, upper) as fractions; lower is 0 at no event, upper is 1 at all events.

    Raises:
        ValueError: when there are no trials or the counts contradict each other.
    """
    _check(successes, trials)
    tail = (1 - level) / 2
    lower = 0.0 if successes == 0 else float(betaincinv(successes, trials - successes + 1, tail))
    upper = 1.0 if successes == trials else float(betaincinv(successes + 1, trials - successes, 1 - tail))
    return lower, upper


def wilson(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Score interval of a binomial fraction (Wilson, J Am Stat Assoc 22:209, 1927); arguments as `clopper_pearson`."""
    _check(successes, trials)
    z = normal_quantile(level)
    p = successes / trials
    centre = (p + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * (p * (1 - p) / trials + z * z / (4 * trials * trials)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)


def garwood(count: int, level: float = 0.95) -> tuple[float, float]:
    """Exact two-sided interval of a Poisson mean (Garwood, Biometrika 28:437, 1936).

    Args:
        count: counted micronuclei, at least 0.
        level: confidence, 0..1.

    Returns:
        (lower, upper) in the unit of `count`: divide by the cells for a yield. Lower is 0 at no event.

    Raises:
        ValueError: a negative count.
    """
    if count < 0:
        raise ValueError(f"{count} is not a count of micronuclei")
    tail = (1 - level) / 2
    lower = 0.0 if count == 0 else float(gammaincinv(count, tail))
    return lower, float(gammaincinv(count + 1, 1 - tail))


def normal_quantile(level: float) -> float:
    """Two-sided quantile of the normal distribution: 1.96 for 0.95."""
    return NormalDist().inv_cdf(1 - (1 - level) / 2)


def _check(successes: int, trials: int) -> None:
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is not a count of events among cells")


# How far the number of scored cells carries, and what more cells would bring.


TIERS: tuple[int, ...] = (200, 500, 1000, 2000)
"""Usual numbers of BN cells a donor: 200 in triage, 1000 to 2000 otherwise."""


@dataclass(frozen=True, slots=True)
class Precision:
    """Width of the exact 95 % interval of a fraction, now and with more cells.

    Attributes:
        tier: largest of `TIERS` that is reached; None below 200 cells.
        width: of the interval, as a fraction.
        next_cells, next_width: the next tier and the width there, were the fraction the same; None from 2000 on.
    """

    cells: int
    tier: int | None
    width: float
    next_cells: int | None
    next_width: float | None


def precision(mnbn: int, cells: int, level: float = 0.95) -> Precision:
    """Precision of `mnbn` cells called MN among `cells` BN cells.

    Raises:
        ValueError: no cells, or contradictory counts.
    """
    if cells < 1 or not 0 <= mnbn <= cells:
        raise ValueError(f"{mnbn} of {cells} is not a count of events among cells")
    reached = [tier for tier in TIERS if tier <= cells]
    further = next((tier for tier in TIERS if tier > cells), None)
    wider = None if further is None else expected_width(mnbn / cells, further, level)
    return Precision(
        cells, reached[-1] if reached else None, expected_width(mnbn / cells, cells, level), further, wider
    )


def expected_width(fraction: float, cells: int, level: float = 0.95) -> float:
    """Width of the Clopper-Pearson interval of `fraction` of `cells`, which need not make a whole number of events."""
    events, tail = fraction * cells, (1 - level) / 2
    low = 0.0 if events <= 0 else float(betaincinv(events, cells - events + 1, tail))
    high = 1.0 if events >= cells else float(betaincinv(events + 1, cells - events, 1 - tail))
    return high - low


# Exact tests of a case against a known rate, and against a counted control.


_TIE = 1 + 1e-7
"""Outcomes whose probabilities differ by less count as equally likely (as in R), so that rounding decides nothing."""


@dataclass(frozen=True, slots=True)
class RateComparison:
    """A case's rate compared with a control's.

    Attributes:
        p_two_sided: of a difference at least as unlikely, if both had one rate.
        p_greater: of a case at least as high, if both had one rate.
        ratio: rate of the case / rate of the control; infinite for a control without an event, None for 0 / 0.
        ratio_low, ratio_high: exact interval of that ratio.
    """

    p_two_sided: float
    p_greater: float
    ratio: float | None
    ratio_low: float
    ratio_high: float


def compare_rates(
    case_events: int, case_cells: int, control_events: int, control_cells: int, level: float = 0.95
) -> RateComparison:
    """Exact conditional comparison of two Poisson rates (Przyborowski and Wilenski, Biometrika 31:313, 1940).

    Given all events together, those of the case are binomial with the case's share of the cells. For fractions of
    cells (MNBN) it is slightly conservative, since a binomial count varies less than a Poisson one.

    Raises:
        ValueError: no cells, or negative events.
    """
    if min(case_cells, control_cells) < 1 or min(case_events, control_events) < 0:
        raise ValueError("a comparison needs cells on both sides and counts of 0 or more")
    events = case_events + control_events
    share = case_cells / (case_cells + control_cells)
    tail = (1 - level) / 2
    low = betaincinv(case_events, control_events + 1, tail) if case_events else 0.0
    high = betaincinv(case_events + 1, control_events, 1 - tail) if control_events else 1.0
    scale = control_cells / case_cells
    return RateComparison(
        p_two_sided=binomial_p_two_sided(case_events, events, share),
        p_greater=binomial_p_greater(case_events, events, share),
        ratio=_ratio(case_events * control_cells, control_events * case_cells),
        ratio_low=_odds(float(low)) * scale,
        ratio_high=_odds(float(high)) * scale,
    )


def binomial_p_greater(events: int, trials: int, probability: float) -> float:
    """P(K >= events) for K ~ binomial(trials, probability)."""
    return 1.0 if events <= 0 else float(betainc(events, trials - events + 1, probability))


def binomial_p_two_sided(events: int, trials: int, probability: float) -> float:
    """Probability of all outcomes that are no likelier than `events`."""
    k = np.arange(trials + 1)
    chosen = gammaln(trials + 1) - gammaln(k + 1) - gammaln(trials - k + 1)
    return _no_likelier(np.exp(chosen + xlogy(k, probability) + xlog1py(trials - k, -probability)), events)


def poisson_p_greater(events: int, mean: float) -> float:
    """P(K >= events) for K ~ Poisson(mean)."""
    return 1.0 if events <= 0 else float(gammainc(events, mean))


def poisson_p_two_sided(events: int, mean: float) -> float:
    """Probability of all counts that are no likelier than `events`, for a Poisson count."""
    if mean == 0:
        return 1.0 if events == 0 else 0.0
    largest = int(pdtrik(1 - 1e-15, mean)) if mean > 1e-6 else 0
    k = np.arange(max(largest, 2 * events, 20) + 2)
    return _no_likelier(np.exp(xlogy(k, mean) - mean - gammaln(k + 1)), events)


def _no_likelier(probabilities: npt.NDArray[np.float64], events: int) -> float:
    kept = probabilities[probabilities <= probabilities[events] * _TIE]
    return min(1.0, float(kept.sum()))


def _ratio(numerator: int, denominator: int) -> float | None:
    if denominator:
        return numerator / denominator
    return inf if numerator else None


def _odds(share: float) -> float:
    return inf if share == 1 else share / (1 - share)
