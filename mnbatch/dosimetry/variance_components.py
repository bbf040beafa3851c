"""How much slides and persons differ beyond counting, learnt from the slides of a curve; doses by inverting a test.

A curve's slides scatter about it because cells are counted, because slides differ (stain, focus, a scorer's false and
missed calls) and because persons have different backgrounds. One factor on the counting variance cannot say which: it
is the mean over doses that differ. Here each part has its own size, and a case is put together from them: its cells,
its slides, its one person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import bdtr, expit, gammaincc, gammaln, logit, ndtri, xlog1py, xlogy

from mnbatch.dosimetry.likelihood_fits import Floats, Shape, design

if TYPE_CHECKING:
    from mnbatch.dosimetry.calibration_curve import Curve, Endpoint

# A slide of n cells at dose D has the yield y with
#
#     mean      mu = C + alpha D + beta G D^2
#     variance  mu (1 - mu) / n   [mn: mu / n]            counting
#               + a^2 ((1 - mu) / (1 - C))^2              slides, at background (false calls; none are left at mu = 1)
#               + b^2 (mu - C)^2                          slides, of what the dose induced (missed calls)
#               + p^2                                     persons: their backgrounds; shared by the slides of one
#
# Prior: flat in a and p (flat in a standard deviation: Gelman, Bayesian Analysis 1:515, 2006), half normal in b, flat
# in the coefficients. On a grid of (a, b, p) the coefficients have a normal posterior (generalised least squares), and
# the grid the weights of the restricted likelihood (Patterson and Thompson, Biometrika 58:545, 1971). From this
# posterior DRAWS points are taken, evenly spread (a Kronecker sequence) and always the same. Few slides give it long
# tails.
#
# A case of x events: p(x or more | D) averaged over the draws, each with a yield of its own about its mu(D) (normal in
# logit or, for mn, in log; with these moments). The interval holds all D for which neither tail is below
# (1 - level) / 2, with half of the probability of x in each (mid-p: Lancaster, J Am Stat Assoc 56:223, 1961). An upper
# limit is not let fall below that of the count which 16 of 100 unexposed cases are below (power-constrained limits:
# Cowan, Cranmer, Gross and Vitells, arXiv:1105.3166, 2011): a count far below background would have no dose at all.

DRAWS = 1024
FEWEST_SLIDES = 10
"""Slides of a curve that show how slides differ."""
FEWEST_PERSONS = 4
"""Persons of a curve that show how persons differ."""
LEAST_REPLICATES = 4
"""Slides beyond the first of their dose: without them a bent curve would pass for slides that differ."""
SEARCH_TO = 100.0
INDUCED_SCALE = 0.15
"""Of the prior of b (half normal): how much slides differ in the share of induced micronuclei that is found. Few slides
at high doses say little of it; simulated ones differ by 0.045 (fluorescence) and 0.15 (Giemsa)."""
_SLIDE_STEPS, _PERSON_STEPS = 12, 9
_ROUNDS = 6
_UNLIKELY = 0.16
_TOLERANCE = 5e-4


@dataclass(frozen=True, slots=True)
class CountedSlide:
    """A slide of a curve.

    Attributes:
        dose: Gy.
        person: a number that its person has; 0 where it is not known.
        phi: factor on its counting variance (mn: its dispersion index, at least 1).
    """

    dose: float
    cells: int
    events: int
    person: int = 0
    phi: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """Draws of what is known of a curve and of how slides and persons differ.

    Attributes:
        coefficients: (DRAWS, p), none negative.
        slide, induced, person: a, b and p of each draw, (DRAWS,).
        z: of a case's own yield, standard normal, (DRAWS,).
        persons_known: whether p was learnt; 0 otherwise.
    """

    shape: Shape
    endpoint: Endpoint
    coefficients: Floats
    slide: Floats
    induced: Floats
    person: Floats
    z: Floats
    persons_known: bool


@dataclass(frozen=True, slots=True)
class CaseSlides:
    """A case: events, and the cells of each of its slides; phi is a factor on the counting variance (mn)."""

    events: int
    cells: tuple[int, ...]
    phi: float = 1.0

    @property
    def total(self) -> int:
        """Cells of all slides."""
        return sum(self.cells)

    @property
    def slides_share(self) -> float:
        """sum n^2 / (sum n)^2: 1 for one slide, 1/k for k slides of one size."""
        return sum(n * n for n in self.cells) / self.total**2


def slides_of(curve: Curve) -> tuple[CountedSlide, ...]:
    """The slides that a curve's file carries; () where it does not."""
    fitted = curve.about.get("fit")
    points = fitted.get("points") if isinstance(fitted, Mapping) else None
    found = []
    for point in points or ():
        if not isinstance(point, Mapping):
            return ()
        dose, n, x, person = (point.get(key) for key in ("dose", "n", "x", "donor"))
        if not isinstance(dose, int | float) or not isinstance(n, int) or not isinstance(x, int) or x < 0:
            return ()
        if n < 1 or (curve.endpoint == "mnbn" and x > n):
            return ()
        phi = point.get("dispersion_index")
        spread = max(1.0, float(phi)) if isinstance(phi, int | float) and np.isfinite(phi) else 1.0
        found.append(CountedSlide(float(dose), n, x, person if isinstance(person, int) else 0, spread))
    return tuple(found)


def unknown_components(curve: Curve) -> str:
    """Why a curve does not show how slides differ; "" where it does."""
    if curve.about.get("as_scored"):
        return "the curve was carried onto another scorer's scale, and its slides were not"
    slides = slides_of(curve)
    if not slides:
        return "the curve's file does not carry the slides that it was fitted to"
    doses = len({slide.dose for slide in slides})
    if len(slides) < FEWEST_SLIDES or len(slides) - doses < LEAST_REPLICATES:
        return (
            f"the curve has {len(slides)} slides at {doses} doses; {FEWEST_SLIDES} slides, {LEAST_REPLICATES} of them "
            "second ones of a dose, show how slides differ"
        )
    return ""


def persons_of(slides: Sequence[CountedSlide]) -> tuple[int, ...]:
    """The person of each slide where enough persons are known to show how they differ, else ()."""
    persons = {slide.person for slide in slides if slide.person}
    known = all(slide.person for slide in slides)
    return tuple(slide.person for slide in slides) if known and len(persons) >= FEWEST_PERSONS else ()


def components_of(curve: Curve) -> Components:
    """What the curve's slides show.

    Raises:
        ValueError: they show too little (`unknown_components`).
    """
    reason = unknown_components(curve)
    if reason:
        raise ValueError(reason)
    coefficients = curve.coefficients
    held = tuple(bool(v == 0 and e == 0) for v, e in zip(coefficients, curve.standard_errors, strict=True))
    return _components(slides_of(curve), curve.shape, curve.endpoint, held)


@lru_cache(maxsize=64)
def _components(
    slides: tuple[CountedSlide, ...], shape: Shape, endpoint: Endpoint, held: tuple[bool, ...]
) -> Components:
    """Posterior draws; `held` says which coefficients are 0 in this curve (C without any event stays free)."""
    free = [i for i in range(len(held)) if i == 0 or not held[i]]
    persons = persons_of(slides)
    grid = _grid(slides, endpoint, bool(persons))
    posterior = _on_grid(slides, design([s.dose for s in slides], shape)[:, free], endpoint, persons, grid)
    u = _evenly_spread(len(free) + 2)
    place = np.minimum(np.searchsorted(np.cumsum(posterior.weight), u[:, 0]), len(posterior.weight) - 1)
    z = ndtri(u[:, 1:])
    root = np.linalg.cholesky(posterior.covariance[place])
    drawn = posterior.mean[place] + np.einsum("dij,dj->di", root, z[:, :-1])
    coefficients = np.zeros((DRAWS, len(held)))
    coefficients[:, free] = np.maximum(drawn, 0.0)
    coefficients[:, 0] = np.maximum(coefficients[:, 0], 1e-6)
    a, b, p = grid[place].T
    return Components(
        shape=shape,
        endpoint=endpoint,
        coefficients=coefficients,
        slide=a,
        induced=b,
        person=p,
        z=z[:, -1],
        persons_known=bool(persons),
    )


def _evenly_spread(dimensions: int) -> Floats:
    """(DRAWS, dimensions) in 0..1: multiples of powers of the inverse of the root of x^(d+1) = x + 1, mod 1."""
    root = 2.0
    for _ in range(60):
        root = (1 + root) ** (1 / (dimensions + 1))
    steps = root ** -np.arange(1.0, dimensions + 1)
    return np.asarray(np.clip((0.5 + np.outer(np.arange(1, DRAWS + 1), steps)) % 1, 1e-6, 1 - 1e-6), dtype=np.float64)


def _grid(slides: Sequence[CountedSlide], endpoint: Endpoint, persons: bool) -> Floats:
    """(points, 3) of a, b, p: each from 0 to far above what the slides scatter."""
    low = min(slide.dose for slide in slides)
    scatter = _largest_scatter([s for s in slides if s.dose == low]), _largest_scatter(slides, relative=True)
    top_a, top_b = max(scatter[0], 0.005), min(1.0, max(scatter[1], 0.05))
    steps = (np.arange(_SLIDE_STEPS) + 0.5) / _SLIDE_STEPS
    of_persons = top_a * (np.arange(_PERSON_STEPS) + 0.5) / _PERSON_STEPS if persons else np.zeros(1)
    axes = np.meshgrid(top_a * steps, top_b * steps, of_persons, indexing="ij")
    return np.stack([axis.ravel() for axis in axes], axis=1)


def _largest_scatter(slides: Sequence[CountedSlide], relative: bool = False) -> float:
    """Four standard deviations of yields about the mean of their dose (or of their ratio to it), with its error."""
    total, df = 0.0, 0
    for dose in {slide.dose for slide in slides}:
        same = np.array([s.events / s.cells for s in slides if s.dose == dose])
        mean = max(float(same.mean()), 1e-6)
        total += float(((same - mean) ** 2).sum()) / (mean**2 if relative else 1.0)
        df += len(same) - 1
    counting = np.mean([(s.events + 1) / s.cells**2 for s in slides]) ** 0.5
    return float(4 * (total / max(1, df)) ** 0.5 + (0.0 if relative else 2 * float(counting)))


@dataclass(frozen=True, slots=True, eq=False)
class _Posterior:
    mean: Floats
    covariance: Floats
    weight: Floats


def _on_grid(
    slides: Sequence[CountedSlide], x: Floats, endpoint: Endpoint, persons: Sequence[int], grid: Floats
) -> _Posterior:
    """Coefficients given each point of the grid, and the weight of the point."""
    y = np.array([s.events / s.cells for s in slides])
    # One dispersion for all slides: that of a slide with few events is mostly chance.
    phi = sum(s.phi * s.events for s in slides) / max(1, sum(s.events for s in slides))
    cells = np.array([s.cells for s in slides], dtype=np.float64) / max(1.0, phi)
    same = np.equal.outer(persons, persons).astype(np.float64) if persons else np.zeros((len(y), len(y)))
    theta = np.tile(_start(x, y, cells), (len(grid), 1))
    for _ in range(_ROUNDS):
        sigma = _covariance_of_yields(theta @ x.T, theta[:, :1], cells, same, endpoint, grid)
        weighted = np.linalg.solve(sigma, np.broadcast_to(x, (len(grid), *x.shape)))
        information = np.einsum("ij,gik->gjk", x, weighted)
        covariance = np.linalg.inv(information)
        theta = np.einsum("gjk,gik,i->gj", covariance, weighted, y)
    off = y - theta @ x.T
    distance = np.einsum("gi,gi->g", off, np.linalg.solve(sigma, off[..., None])[..., 0])
    log_p = -(distance + np.linalg.slogdet(sigma)[1] + np.linalg.slogdet(information)[1]) / 2
    log_p -= (grid[:, 1] / INDUCED_SCALE) ** 2 / 2
    weight = np.exp(log_p - log_p.max())
    return _Posterior(theta, covariance, weight / weight.sum())


def _start(x: Floats, y: Floats, cells: Floats) -> Floats:
    root = np.sqrt(cells / (y + 1 / cells))
    return np.asarray(np.linalg.lstsq(root[:, None] * x, root * y, rcond=None)[0], dtype=np.float64)


def _covariance_of_yields(
    mu: Floats, background: Floats, cells: Floats, same: Floats, endpoint: Endpoint, grid: Floats
) -> Floats:
    """(points, slides, slides)."""
    least = 0.5 / cells.max()
    mu = np.maximum(mu, least)
    c = np.maximum(background, least)
    a, b, p = (grid[:, i : i + 1] for i in range(3))
    if endpoint == "mnbn":
        mu = np.minimum(mu, 1 - least)
        own = mu * (1 - mu) / cells + (a * (1 - mu) / (1 - np.minimum(c, 0.9))) ** 2
    else:
        own = mu / cells + a**2
    own = own + (b * np.maximum(mu - c, 0.0)) ** 2
    return np.asarray(own[:, :, None] * np.eye(len(cells)) + (p**2)[..., None] * same, dtype=np.float64)


# A case on these draws.


def yields_of(known: Components, dose: Floats, case: CaseSlides, g: float = 1.0) -> Floats:
    """(doses, DRAWS) yields that a case with these slides may have at each dose, without its counting."""
    mu = design(dose, known.shape, g) @ known.coefficients.T
    c = known.coefficients[:, 0]
    share = case.slides_share
    slide = known.slide**2
    if known.endpoint == "mnbn":
        mu = np.minimum(mu, 1 - 1e-9)
        slide = slide * ((1 - mu) / (1 - np.minimum(c, 0.9))) ** 2
    variance = share * (slide + (known.induced * (mu - c)) ** 2) + known.person**2
    if known.endpoint == "mnbn":
        sigma2 = np.log1p(variance / (mu * (1 - mu)) ** 2)
        return np.asarray(expit(logit(mu) - sigma2 / 2 * (1 - 2 * mu) + np.sqrt(sigma2) * known.z), dtype=np.float64)
    sigma2 = np.log1p(variance / mu**2)
    return np.asarray(np.exp(np.log(mu) - sigma2 / 2 + np.sqrt(sigma2) * known.z), dtype=np.float64)


def _below_and_at(known: Components, q: Floats, case: CaseSlides) -> tuple[Floats, Floats]:
    """P(x or fewer) and P(x) of each yield."""
    n, x = case.total, case.events
    if known.endpoint == "mnbn":
        ways = gammaln(n + 1) - gammaln(x + 1) - gammaln(n - x + 1)
        return bdtr(x, n, q), np.exp(ways + xlogy(x, q) + xlog1py(n - x, -q))
    # Scaled as Garwood's interval is: x / phi events in n / phi cells.
    mean, events = q * n / case.phi, x / case.phi
    same = np.exp(xlogy(events, mean) - mean - gammaln(events + 1)) / case.phi
    return np.asarray(gammaincc(events + 1, mean), np.float64), np.asarray(np.minimum(same, 1.0), np.float64)


def tail_above(known: Components, dose: float, case: CaseSlides, g: float = 1.0) -> float:
    """P(more events) + P(as many) / 2 at a dose: rises with it."""
    at_most, same = _below_and_at(known, yields_of(known, np.array([dose]), case, g), case)
    return float(1 - (at_most - same / 2).mean())


def log_likelihoods(known: Components, doses: Floats, case: CaseSlides, g: float = 1.0) -> Floats:
    """Log of the probability of the case's count at each dose, averaged over the draws, (doses,)."""
    _, same = _below_and_at(known, yields_of(known, doses, case, g), case)
    return np.asarray(np.log(np.maximum(same.mean(axis=1), 1e-300)), dtype=np.float64)


def dose_limits(known: Components, case: CaseSlides, level: float, g: float = 1.0) -> tuple[float, float]:
    """Lower and upper limit in Gy; the upper one is infinite where no dose below `SEARCH_TO` is too high."""
    tail = (1 - level) / 2
    lower = _dose_where(known, case, tail, g)
    unlikely = replace(case, events=unexposed_count(known, case.cells, case.phi, _UNLIKELY))
    upper = _dose_where(known, case, 1 - tail, g)
    return lower, upper if case.events >= unlikely.events else max(upper, _dose_where(known, unlikely, 1 - tail, g))


def _dose_where(known: Components, case: CaseSlides, target: float, g: float) -> float:
    """The dose at which `tail_above` reaches a target: 0 where it starts above, infinite where it never does."""

    def off(dose: float) -> float:
        return tail_above(known, dose, case, g) - target

    if off(0.0) >= 0:
        return 0.0
    low, high = 0.0, 0.25
    while off(high) < 0:
        if high >= SEARCH_TO:
            return float("inf")
        low, high = high, min(2 * high, SEARCH_TO)
    return float(brentq(off, low, high, xtol=_TOLERANCE))


@lru_cache(maxsize=4096)
def unexposed_count(known: Components, cells: tuple[int, ...], phi: float, share: float) -> int:
    """The smallest count that at least `share` of unexposed cases are at or below."""
    return _count_at(known, 0.0, CaseSlides(0, cells, phi), share)


def decision_threshold(known: Components, cells: tuple[int, ...], phi: float, alpha: float) -> int:
    """The largest count that is no alarm: an unexposed case exceeds it with at most `alpha`."""
    return _count_at(known, 0.0, CaseSlides(0, cells, phi), 1 - alpha)


def detection_dose(
    known: Components, cells: tuple[int, ...], phi: float, threshold: int, beta: float, g: float
) -> float:
    """The dose at which all but `beta` of the cases are above a count; infinite where there is none."""
    case = CaseSlides(threshold, cells, phi)

    def off(dose: float) -> float:
        at_most, _ = _below_and_at(known, yields_of(known, np.array([dose]), case, g), case)
        return float(at_most.mean()) - beta

    low, high = 0.0, 0.25
    while off(high) > 0:
        if high >= SEARCH_TO:
            return float("inf")
        low, high = high, min(2 * high, SEARCH_TO)
    return float(brentq(off, low, high, xtol=_TOLERANCE))


def _count_at(known: Components, dose: float, case: CaseSlides, share: float) -> int:
    """The smallest count k with P(k or fewer) >= share."""
    q = yields_of(known, np.array([dose]), case)

    def enough(events: int) -> bool:
        return bool(_below_and_at(known, q, replace(case, events=events))[0].mean() >= share)

    low, high = -1, 1
    while not enough(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
