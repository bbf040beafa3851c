"""A case on the components of variance of a curve: dose limits, decision threshold, detection limit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.special import bdtr, expit, gammaincc, gammaln, logit, ndtri, xlog1py, xlogy

from mnbatch.dosimetry.calibration_curve import Endpoint
from mnbatch.dosimetry.likelihood_fits import Floats, design
from mnbatch.dosimetry.variance_components import CaseSlides, Components

# A case of x events: P(x or more | D) averaged over the draws, each with a yield of its own about its mu(D) (normal in
# logit or, for mn, in log; with the moments of `variance_components`). The interval holds all D for which neither tail
# is below (1 - level) / 2, with half of the probability of x in each (mid-p: Lancaster, J Am Stat Assoc 56:223, 1961).
# An upper limit is not let fall below that of the count which 16 of 100 unexposed cases are below (power-constrained
# limits: Cowan, Cranmer, Gross and Vitells, arXiv:1105.3166, 2011): a count far below background would have no dose.
#
# The yields of all draws at all doses depend on a case only through how its cells are divided among its slides. They
# are counted once (`_Yields`), on nodes of arcsin(root(yield)), of mn of its fourth root, with the mean kept. A count
# then needs one binomial (gamma) tail a node. Between doses the tails are interpolated as normal quantiles.

SEARCH_TO = 100.0
"""Gy; a limit beyond it is none."""
_NODES = 1024
_DENSE, _FAR = 96, 16
_DENSE_TO = 12.0
_UNLIKELY = 0.16
_TINY = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class _Yields:
    """How the yields of a case are distributed at each dose.

    Attributes:
        doses: Gy, rising, from 0.
        values: yields of the nodes that any dose reaches.
        share: (doses, nodes); each row is 1 together.
    """

    doses: Floats
    values: Floats
    share: Floats


def yields_of(known: Components, dose: Floats, slides_share: float, g: float = 1.0) -> Floats:
    """(doses, DRAWS) yields that a case may have at each dose, without its counting.

    Args:
        slides_share: of the case (`CaseSlides.slides_share`).
        g: protraction factor.
    """
    mu = design(dose, known.shape, g) @ known.coefficients.T
    c = known.coefficients[:, 0]
    slide = known.slide**2
    if known.endpoint == "mnbn":
        mu = np.minimum(mu, 1 - 1e-9)
        slide = slide * ((1 - mu) / (1 - np.minimum(c, 0.9))) ** 2
    at_background = slide * (1.0 if known.of_person else slides_share)
    variance = at_background + slides_share * (known.induced * (mu - c)) ** 2 + known.person**2
    if known.endpoint == "mnbn":
        sigma2 = np.log1p(variance / (mu * (1 - mu)) ** 2)
        return np.asarray(expit(logit(mu) - sigma2 / 2 * (1 - 2 * mu) + np.sqrt(sigma2) * known.z), dtype=np.float64)
    sigma2 = np.log1p(variance / mu**2)
    return np.asarray(np.exp(np.log(mu) - sigma2 / 2 + np.sqrt(sigma2) * known.z), dtype=np.float64)


def _yields(known: Components, case: CaseSlides, g: float) -> _Yields:
    return _counted_yields(known, round(case.slides_share, 4), g)


@lru_cache(maxsize=64)
def _counted_yields(known: Components, slides_share: float, g: float) -> _Yields:
    near = _DENSE_TO * np.linspace(0, 1, _DENSE) ** 2
    doses = np.concatenate([near, np.geomspace(_DENSE_TO, SEARCH_TO, _FAR + 1)[1:]])
    q = yields_of(known, doses, slides_share, g)
    root = np.arcsin(np.sqrt(q)) if known.endpoint == "mnbn" else q**0.25
    place = root / root.max() * (_NODES - 1)
    first = np.minimum(place.astype(np.int64), _NODES - 2)
    nodes = np.linspace(0, root.max(), _NODES)
    values = np.sin(nodes) ** 2 if known.endpoint == "mnbn" else nodes**4
    # Divided between the two nodes beside it so that its mean stays.
    upper = np.clip((q - values[first]) / (values[first + 1] - values[first]), 0, 1)
    share = np.zeros((len(doses), _NODES))
    rows = np.broadcast_to(np.arange(len(doses))[:, None], q.shape)
    np.add.at(share, (rows, first), (1 - upper) * known.weight)
    np.add.at(share, (rows, first + 1), upper * known.weight)
    used = share.any(axis=0)
    return _Yields(doses, values[used], share[:, used])


def _below_and_at(endpoint: Endpoint, q: Floats, case: CaseSlides) -> tuple[Floats, Floats]:
    """P(x or fewer) and P(x) of each yield."""
    n, x = case.total, case.events
    if endpoint == "mnbn":
        ways = gammaln(n + 1) - gammaln(x + 1) - gammaln(n - x + 1)
        return bdtr(x, n, q), np.exp(ways + xlogy(x, q) + xlog1py(n - x, -q))
    # Scaled as Garwood's interval is: x / phi events in n / phi cells.
    mean, events = q * n / case.phi, x / case.phi
    same = np.exp(xlogy(events, mean) - mean - gammaln(events + 1)) / case.phi
    return np.asarray(gammaincc(events + 1, mean), np.float64), np.asarray(np.minimum(same, 1.0), np.float64)


def _tails(known: Components, case: CaseSlides, g: float) -> tuple[Floats, Floats]:
    """Doses, and at each P(more events) + P(as many) / 2, which rises."""
    yields = _yields(known, case, g)
    at_most, same = _below_and_at(known.endpoint, yields.values, case)
    return yields.doses, 1 - yields.share @ (at_most - same / 2)


def tail_above(known: Components, dose: float, case: CaseSlides, g: float = 1.0) -> float:
    """P(more events) + P(as many) / 2 at a dose: rises with it."""
    q = yields_of(known, np.array([dose]), case.slides_share, g)
    at_most, same = _below_and_at(known.endpoint, q, case)
    return float(1 - ((at_most - same / 2) @ known.weight)[0])


def log_likelihoods(known: Components, doses: Floats, case: CaseSlides, g: float = 1.0) -> Floats:
    """Log of the probability of the case's count at each dose, averaged over the draws, (doses,)."""
    yields = _yields(known, case, g)
    same = yields.share @ _below_and_at(known.endpoint, yields.values, case)[1]
    return np.asarray(np.interp(doses, yields.doses, np.log(np.maximum(same, 1e-300))), dtype=np.float64)


def dose_limits(known: Components, case: CaseSlides, level: float, g: float = 1.0) -> tuple[float, float]:
    """Lower and upper limit in Gy; the upper one is infinite where no dose below `SEARCH_TO` is too high."""
    tail = (1 - level) / 2
    doses, above = _tails(known, case, g)
    lower, upper = _dose_where(doses, above, tail), _dose_where(doses, above, 1 - tail)
    unlikely = unexposed_count(known, case.cells, case.phi, _UNLIKELY)
    if case.events >= unlikely:
        return lower, upper
    return lower, max(upper, _dose_where(*_tails(known, replace(case, events=unlikely), g), 1 - tail))


def _dose_where(doses: Floats, rising: Floats, target: float) -> float:
    """The dose at which a probability reaches a target: 0 where it starts above, infinite where it never does."""
    if rising[0] >= target:
        return 0.0
    if rising.max() < target:
        return float("inf")
    i = int(np.argmax(rising >= target))
    low, high, wanted = ndtri(np.clip([rising[i - 1], rising[i], target], _TINY, 1 - _TINY))
    return float(doses[i - 1] + (doses[i] - doses[i - 1]) * (wanted - low) / (high - low))


@lru_cache(maxsize=4096)
def unexposed_count(known: Components, cells: tuple[int, ...], phi: float, share: float) -> int:
    """The smallest count that at least `share` of unexposed cases are at or below."""
    case = CaseSlides(0, cells, phi)
    yields = _yields(known, case, 1.0)
    used = yields.share[0] > 0
    q, weight = yields.values[used], yields.share[0][used]

    def enough(events: int) -> bool:
        return bool(_below_and_at(known.endpoint, q, replace(case, events=events))[0] @ weight >= share)

    low, high = -1, 1
    while not enough(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def decision_threshold(known: Components, cells: tuple[int, ...], phi: float, alpha: float) -> int:
    """The largest count that is no alarm: an unexposed case exceeds it with at most `alpha`."""
    return unexposed_count(known, cells, phi, 1 - alpha)


@lru_cache(maxsize=4096)
def detection_dose(
    known: Components, cells: tuple[int, ...], phi: float, threshold: int, beta: float, g: float
) -> float:
    """The dose at which all but `beta` of the cases are above a count; infinite where there is none."""
    case = CaseSlides(threshold, cells, phi)
    yields = _yields(known, case, g)
    at_most = yields.share @ _below_and_at(known.endpoint, yields.values, case)[0]
    return _dose_where(yields.doses, 1 - at_most, 1 - beta)
