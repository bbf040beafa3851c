"""Exact tests of a case against a known rate, and against a counted control."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, betaincinv, gammainc, gammaln, pdtrik, xlog1py, xlogy

_TIE = 1 + 1e-7
"""Outcomes whose probabilities differ by less count as equally likely (as in R), so that rounding decides nothing."""


@dataclass(frozen=True, slots=True)
class RateComparison:
    """A case's rate beside a control's.

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
