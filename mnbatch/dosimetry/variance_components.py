"""How much slides and persons differ beyond counting, learnt from the slides of a curve; doses by inverting a test.

A curve's slides scatter about it because cells are counted, because slides differ (stain, focus, a scorer's false and
missed calls) and because persons have different backgrounds. One factor on the counting variance cannot say which: it
is the mean over doses that differ. Here each part has its own size, and a case is put together from them: its cells,
its slides, its one person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betaln, gammaln, ndtri, xlogy

from mnbatch.assay.count_kinds import kind_of
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
# Prior: flat in a and p (flat in a standard deviation: Gelman, Bayesian Analysis 1:515, 2006), half normal in b; for
# counts of a person also in a, whose scale is a share of C (below); Jeffreys' in C (1 / root), flat in the others, none
# negative. On a grid of (a, b, p) the coefficients are drawn from a normal (generalised least squares), and the grid
# with the weights of the restricted likelihood (Patterson and Thompson, Biometrika 58:545, 1971). Each of the DRAWS
# points (a Kronecker sequence: evenly spread, and always the same) then has the weight of importance sampling: the
# beta-binomial (mn: negative binomial) likelihood of the slides' counts, of the moments above, over that normal. So few
# events at 0 Gy have the long tail upwards that they should have. Few slides give long tails.

DRAWS = 1024
FEWEST_SLIDES = 10
"""Slides of a curve that show how slides differ."""
FEWEST_PERSONS = 4
"""Persons of a curve that show how persons differ."""
LEAST_REPLICATES = 4
"""Slides beyond the first of their dose: without them a bent curve would pass for slides that differ."""
INDUCED_SCALE = 0.2
"""Of the prior of b (half normal): how much slides differ in the share of induced micronuclei that is found. Few slides
at high doses say little of it; simulated ones differ by 0.045 (fluorescence) and 0.15 (Giemsa)."""
PERSONS_SCALE = 0.6
"""Of the prior of a, as a share of C, where people made the counts: then slides have no false calls of a model, and
what differs at background is the person (HUMN project: log-sd of persons about 0.6 to 1, laboratories included)."""
HIGHEST_INDUCED = 0.6
_SLIDE_STEPS, _PERSON_STEPS = 12, 9
_ROUNDS = 6
_WIDER = 1.25
"""Of the normal that coefficients are drawn from: it must reach where the likelihood does."""
_LEAST = 1e-6


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
        weight: of each draw; 1 together, (DRAWS,).
        persons_known: whether p was learnt; 0 otherwise.
        of_person: a is what persons differ by, which all slides of a case share: people made the counts, and the slides
            do not name enough persons.
    """

    shape: Shape
    endpoint: Endpoint
    coefficients: Floats
    slide: Floats
    induced: Floats
    person: Floats
    z: Floats
    weight: Floats
    persons_known: bool
    of_person: bool


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
    """The person of each slide where enough persons are known to show how they differ, else ().

    Persons who have a dose of their own each (the donors of an OUT) do not: what they differ by would be told from the
    shape of the curve alone.
    """
    persons = {slide.person for slide in slides if slide.person}
    beside = len({(slide.dose, slide.person) for slide in slides}) - len({slide.dose for slide in slides})
    known = all(slide.person for slide in slides) and beside >= FEWEST_PERSONS - 1
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
    of_people = kind_of(curve.scoring) != "automatic"
    return _components(slides_of(curve), curve.shape, curve.endpoint, held, of_people)


@lru_cache(maxsize=64)
def _components(
    slides: tuple[CountedSlide, ...], shape: Shape, endpoint: Endpoint, held: tuple[bool, ...], of_people: bool
) -> Components:
    """Posterior draws; `held` says which coefficients are 0 in this curve (C without any event stays free)."""
    free = [i for i in range(len(held)) if i == 0 or not held[i]]
    data = _Counted.of(slides, design([s.dose for s in slides], shape)[:, free], endpoint, of_people)
    grid = _grid(slides, bool(data.persons))
    posterior = _on_grid(data, grid)
    u = _evenly_spread(len(free) + 2)
    place = np.minimum(np.searchsorted(np.cumsum(posterior.weight), u[:, 0]), len(posterior.weight) - 1)
    z = ndtri(u[:, 1:])
    root = np.linalg.cholesky(posterior.covariance[place])
    drawn = posterior.mean[place] + _WIDER * np.einsum("dij,dj->di", root, z[:, :-1])
    log_w = _exact_over_normal(data, drawn, grid.points[place], posterior.own[place])
    log_w -= (_WIDER**2 - 1) * (z[:, :-1] ** 2).sum(axis=1) / 2
    weight = np.exp(log_w - log_w.max())
    coefficients = np.zeros((DRAWS, len(held)))
    coefficients[:, free] = np.maximum(drawn, 0.0)
    coefficients[:, 0] = np.maximum(coefficients[:, 0], _LEAST)
    a, b, p = grid.points[place].T
    return Components(
        shape=shape,
        endpoint=endpoint,
        coefficients=coefficients,
        slide=a,
        induced=b,
        person=p,
        z=z[:, -1],
        weight=weight / weight.sum(),
        persons_known=bool(data.persons),
        of_person=of_people and not data.persons,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Counted:
    """A curve's slides as arrays, (slides,), and their design matrix."""

    x: Floats
    cells: Floats
    events: Floats
    endpoint: Endpoint
    persons: tuple[int, ...]
    of_people: bool

    @classmethod
    def of(cls, slides: Sequence[CountedSlide], x: Floats, endpoint: Endpoint, of_people: bool) -> _Counted:
        """Counts over their dispersion: one for all slides, since that of a slide with few events is mostly chance."""
        phi = max(1.0, sum(s.phi * s.events for s in slides) / max(1, sum(s.events for s in slides)))
        cells, events = (np.array([getattr(s, key) for s in slides]) / phi for key in ("cells", "events"))
        return cls(x, cells, events, endpoint, persons_of(slides), of_people)


def _evenly_spread(dimensions: int) -> Floats:
    """(DRAWS, dimensions) in 0..1: multiples of powers of the inverse of the root of x^(d+1) = x + 1, mod 1."""
    root = 2.0
    for _ in range(60):
        root = (1 + root) ** (1 / (dimensions + 1))
    steps = root ** -np.arange(1.0, dimensions + 1)
    return np.asarray(np.clip((0.5 + np.outer(np.arange(1, DRAWS + 1), steps)) % 1, 1e-6, 1 - 1e-6), dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """Points (points, 3) of a, b, p, and the logarithm of the volume of each."""

    points: Floats
    log_volume: Floats


def _grid(slides: Sequence[CountedSlide], persons: bool) -> _Grid:
    """Each from 0 to far above what the slides scatter, closer near 0 (squares of even steps)."""
    low = min(slide.dose for slide in slides)
    scatter = _largest_scatter([s for s in slides if s.dose == low]), _largest_scatter(slides, relative=True)
    top_a, top_b = max(scatter[0], 0.005), min(HIGHEST_INDUCED, max(scatter[1], 0.05))
    steps = (np.arange(_SLIDE_STEPS) + 0.5) / _SLIDE_STEPS
    of_persons = (np.arange(_PERSON_STEPS) + 0.5) / _PERSON_STEPS if persons else np.zeros(1)
    axes = np.meshgrid(steps, steps, of_persons, indexing="ij")
    t = np.stack([axis.ravel() for axis in axes], axis=1)
    return _Grid(t**2 * [top_a, top_b, top_a], np.log(np.where(t > 0, t, 1.0)).sum(axis=1))


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
    """Of each point of the grid: normal of the coefficients, weight, and the slides' variances, (points, slides)."""

    mean: Floats
    covariance: Floats
    weight: Floats
    own: Floats


def _on_grid(data: _Counted, grid: _Grid) -> _Posterior:
    """Coefficients given each point of the grid, and the weight of the point."""
    x, y, points = data.x, data.events / data.cells, grid.points
    theta = np.tile(_start(x, y, data.cells), (len(points), 1))
    for _ in range(_ROUNDS):
        sigma = _covariance_of_yields(theta @ x.T, theta[:, :1], data, points)
        weighted = np.linalg.solve(sigma, np.broadcast_to(x, (len(points), *x.shape)))
        information = np.einsum("ij,gik->gjk", x, weighted)
        covariance = np.linalg.inv(information)
        theta = np.einsum("gjk,gik,i->gj", covariance, weighted, y)
    off = y - theta @ x.T
    distance = np.einsum("gi,gi->g", off, np.linalg.solve(sigma, off[..., None])[..., 0])
    log_p = -(distance + np.linalg.slogdet(sigma)[1] + np.linalg.slogdet(information)[1]) / 2
    log_p -= (points[:, 1] / INDUCED_SCALE) ** 2 / 2
    if data.of_people:
        scale = PERSONS_SCALE * np.maximum(theta[:, 0], 0.5 / data.cells.max())
        log_p -= (np.hypot(points[:, 0], points[:, 2]) / scale) ** 2 / 2
    log_p += grid.log_volume
    weight = np.exp(log_p - log_p.max())
    return _Posterior(theta, covariance, weight / weight.sum(), np.einsum("gii->gi", sigma))


def _exact_over_normal(data: _Counted, theta: Floats, points: Floats, own: Floats) -> Floats:
    """Log of likelihood times prior of C over the normal of the grid, (draws,); minus infinity where one is negative.

    Slides of one person are weighted as if they were of several: what they share is in the normal already.
    """
    n, k, c = data.cells, data.events, np.maximum(theta[:, :1], _LEAST)
    fitted = theta @ data.x.T
    mu, (a, b, p) = np.maximum(fitted, _LEAST), (points[:, i : i + 1] for i in range(3))
    off = (k / n - fitted) ** 2 / own
    if data.endpoint == "mnbn":
        mu = np.minimum(mu, 1 - _LEAST)
        variance = (a * (1 - mu) / (1 - np.minimum(c, 0.9))) ** 2 + (b * (mu - c)) ** 2 + p**2
        size = 1 / np.clip(variance / (mu * (1 - mu)), 1e-7, 0.5) - 1
        log_l = betaln(k + mu * size, n - k + (1 - mu) * size) - betaln(mu * size, (1 - mu) * size)
    else:
        size = mu**2 / np.maximum(a**2 + (b * (mu - c)) ** 2 + p**2, 1e-7 * mu**2)
        log_l = gammaln(k + size) - gammaln(size) + xlogy(k, n * mu / (n * mu + size)) - size * np.log1p(n * mu / size)
    log_w = (log_l + (off + np.log(own)) / 2).sum(axis=1) - np.log(c[:, 0]) / 2
    return np.asarray(np.where((theta < 0).any(axis=1), -np.inf, log_w), dtype=np.float64)


def _start(x: Floats, y: Floats, cells: Floats) -> Floats:
    root = np.sqrt(cells / (y + 1 / cells))
    return np.asarray(np.linalg.lstsq(root[:, None] * x, root * y, rcond=None)[0], dtype=np.float64)


def _covariance_of_yields(mu: Floats, background: Floats, data: _Counted, points: Floats) -> Floats:
    """(points, slides, slides)."""
    cells = data.cells
    least = 0.5 / cells.max()
    mu = np.maximum(mu, least)
    c = np.maximum(background, least)
    a, b, p = (points[:, i : i + 1] for i in range(3))
    if data.endpoint == "mnbn":
        mu = np.minimum(mu, 1 - least)
        own = mu * (1 - mu) / cells + (a * (1 - mu) / (1 - np.minimum(c, 0.9))) ** 2
    else:
        own = mu / cells + a**2
    own = own + (b * np.maximum(mu - c, 0.0)) ** 2
    same = np.equal.outer(data.persons, data.persons) if data.persons else np.zeros((len(cells), len(cells)))
    shared = (p**2)[..., None] * same
    return np.asarray(own[:, :, None] * np.eye(len(cells)) + shared, dtype=np.float64)
