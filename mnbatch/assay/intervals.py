"""Exact and score intervals: of a binomial fraction (the MNBN endpoint) and of a Poisson count (MN)."""

from __future__ import annotations

from statistics import NormalDist

from scipy.special import betaincinv, gammaincinv


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
