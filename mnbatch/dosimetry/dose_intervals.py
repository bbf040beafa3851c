"""Dose from a counted case: intervals by three methods, all vectorised over cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, chdtri, gammaincinv, xlogy

from mnbatch.assay.intervals import normal_quantile
from mnbatch.dosimetry.calibration_curve import Curve
from mnbatch.dosimetry.likelihood_fits import Floats, design

# Profile likelihood of the dose, constrained to D >= 0 and to coefficients that are not negative.
#
# pl(D) = min over t >= 0 of dev(X; N mu) / phi + (t - t0)' V^-1 (t - t0), mu = (1, D, G D^2) t
#
# dev is the Poisson (or binomial) deviance of the case, t0 and V the curve's coefficients and covariance: the curve
# is a Gaussian prior that is profiled out. The penalty depends on t only through mu, so for a given set of
# coefficients at zero the minimum over mu solves a quadratic (Poisson) or a cubic (binomial) equation: nothing is
# iterated. All seven sets are tried and the best that is feasible taken, which is exact because the problem is
# convex. The interval holds the doses round the estimate with pl(D) - pl(estimate) <= chi2(level, 1).


_HALVINGS = 36


@dataclass(frozen=True, slots=True, eq=False)
class _Face:
    """The prior with some coefficients held at 0: mean, covariance, and what holding them costs."""

    mean: Floats
    covariance: Floats
    cost: float


class Profile:
    """pl(D) of many cases on one curve."""

    def __init__(self, curve: Curve, counts: Counts, g: float = 1.0) -> None:
        self._curve, self._counts, self._g = curve, counts, g
        self._faces = _faces(curve)

    def __call__(self, dose: Floats) -> Floats:
        """pl of each case at its own dose, or at each of several doses.

        Args:
            dose: (n,) for one dose a case, or (n, m), or (1, m) for the same doses for all.
        """
        x = design(dose, self._curve.shape, self._g)
        counts = self._counts
        if x.ndim == 3:
            counts = Counts(counts.cells[:, None], counts.events[:, None], counts.phi[:, None])
        value, feasible = self._on(self._faces[0], x, counts)
        if feasible.all():
            return value
        best = np.where(feasible, value, np.inf)
        for face in self._faces[1:]:
            value, feasible = self._on(face, x, counts)
            best = np.where(feasible, np.minimum(best, value), best)
        return best

    def _on(self, face: _Face, x: Floats, counts: Counts) -> tuple[Floats, npt.NDArray[np.bool_]]:
        prior = x @ face.mean
        towards = x @ face.covariance
        spread = np.maximum(np.sum(towards * x, axis=-1), 0.0)
        solve = _binomial_mu if self._curve.endpoint == "mnbn" else _poisson_mu
        mu = solve(prior, spread, counts)
        with np.errstate(divide="ignore", invalid="ignore"):
            pull = np.where(spread > 0, (mu - prior) / spread, 0.0)
        coefficients = face.mean + towards * pull[..., None]
        feasible = (coefficients >= -1e-12).all(axis=-1) & (mu >= 0)
        return self._deviance(mu, counts) + (mu - prior) * pull + face.cost, feasible

    def _deviance(self, mu: Floats, counts: Counts) -> Floats:
        n, x = counts.cells, counts.events
        with np.errstate(divide="ignore", invalid="ignore"):
            hits = xlogy(x, np.where(x > 0, x / (n * mu), 1.0))
            if self._curve.endpoint == "mnbn":
                rest = xlogy(n - x, np.where(x < n, (n - x) / (n * (1 - mu)), 1.0))
                return np.asarray(2 * (hits + rest), dtype=np.float64)
            return np.asarray(2 * (hits - (x - n * mu)) / counts.phi, dtype=np.float64)


def profile(curve: Curve, counts: Counts, level: float, g: float = 1.0) -> Doses:
    """Estimate and profile-likelihood limits; the lower limit is 0 where no dose is as likely."""
    likelihood = Profile(curve, counts, g)
    estimate = point_estimate(curve, counts, g)
    allowed = likelihood(estimate) + float(chdtri(1, 1 - level))
    zero = np.zeros_like(estimate)
    lower = np.where(likelihood(zero) <= allowed, 0.0, _bisect(likelihood, allowed, estimate, zero))
    outside = _first_outside(likelihood, allowed, estimate)
    unbounded = np.isinf(outside)
    upper = _bisect(likelihood, allowed, estimate, np.where(unbounded, estimate, outside))
    return Doses(estimate, lower, np.where(unbounded, np.inf, upper))


def _bisect(likelihood: Profile, allowed: Floats, inside: Floats, outside: Floats) -> Floats:
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        kept = likelihood(middle) <= allowed
        inside, outside = np.where(kept, middle, inside), np.where(kept, outside, middle)
    return (inside + outside) / 2


def _first_outside(likelihood: Profile, allowed: Floats, estimate: Floats) -> Floats:
    """A dose above the estimate that is outside the interval; infinite where none up to `SEARCH_TO` is."""
    found = np.full_like(estimate, np.inf)
    step = np.full_like(estimate, 0.05)
    trial = estimate
    while (pending := np.isinf(found) & (trial < SEARCH_TO)).any():
        trial = np.minimum(estimate + step, SEARCH_TO)
        found = np.where(pending & (likelihood(trial) > allowed), trial, found)
        step = step * 1.6
    return found


def _faces(curve: Curve) -> list[_Face]:
    t, v, p = curve.coefficients, curve.covariance, len(curve.coefficients)
    faces = [_Face(t, v, 0.0)]
    for size in range(1, p):
        for held in combinations(range(p), size):
            s = list(held)
            block = v[np.ix_(s, s)]
            scale = np.sqrt(np.diag(block))
            if (scale == 0).any() or np.linalg.cond(block / np.outer(scale, scale)) > 1e10:
                continue  # known without error, or tied to another: it cannot be 0 unless that one is
            gain = v[:, s] @ np.linalg.inv(block)
            mean, rest = t - gain @ t[s], v - gain @ v[s]
            mean[s] = rest[s] = rest[:, s] = 0.0  # of which rounding has left a little
            faces.append(_Face(mean, rest, float(t[s] @ np.linalg.solve(block, t[s]))))
    return faces


def _poisson_mu(prior: Floats, spread: Floats, counts: Counts) -> Floats:
    """Positive root of mu^2 + (n s2 / phi - m) mu - x s2 / phi = 0."""
    half = (counts.cells * spread / counts.phi - prior) / 2
    product = counts.events * spread / counts.phi
    root = np.sqrt(half * half + product)
    with np.errstate(divide="ignore", invalid="ignore"):
        small = np.where(half + root > 0, product / (half + root), 0.0)
    return np.where(half > 0, small, root - half)


def _binomial_mu(prior: Floats, spread: Floats, counts: Counts) -> Floats:
    """Middle root of mu^3 - (1 + m) mu^2 + (m - n s2) mu + x s2 = 0: the one in 0..1 of three real ones."""
    n, x = counts.cells, counts.events
    prior, spread, n, x = np.broadcast_arrays(prior, spread, n, x)
    b, c, d = -(1 + prior), prior - n * spread, x * spread
    p, q = c - b * b / 3, 2 * b**3 / 27 - b * c / 3 + d
    radius = np.sqrt(np.maximum(-p / 3, 1e-300))
    angle = np.arccos(np.clip(-q / (2 * radius**3), -1, 1)) / 3
    mu = 2 * radius * np.cos(angle - 2 * np.pi / 3) - b / 3
    for _ in range(3):  # Newton on the polynomial: the trigonometric root has lost digits where s2 is small
        slope = 3 * mu * mu + 2 * b * mu + c
        step = (((mu + b) * mu + c) * mu + d) / np.where(slope == 0, 1.0, slope)
        mu = np.where(np.abs(step) < 1e-3, mu - step, mu)
    return np.asarray(np.clip(mu, 0.0, 1.0), dtype=np.float64)


# Dose from a counted case: three intervals, all vectorised over cases.
#
# * `profile` (the default): profile likelihood of the dose, constrained to D >= 0 (module `profile`).
# * `delta`: normal approximation on the dose (first-order error propagation).
# * `merkle`: Poisson limits of the yield projected onto the curve's confidence band (Merkle 1983, Savage et al. 2000).
#
# None of them alters an observation, and all scale the counting variance continuously by max(1, DI).


SEARCH_TO = 100.0
"""Gy; a limit beyond it is none."""


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """Cases as arrays of length n.

    Attributes:
        cells, events: N and X.
        phi: factor on the counting variance, max(1, DI); 1 for binomial counts and where DI is not defined.
    """

    cells: Floats
    events: Floats
    phi: Floats

    @classmethod
    def of(cls, cells: npt.ArrayLike, events: npt.ArrayLike, phi: npt.ArrayLike = 1.0) -> Counts:
        """Arrays of one length; `phi` may be one number."""
        n, x, f = np.broadcast_arrays(cells, events, phi)
        return cls(n.astype(np.float64), x.astype(np.float64), np.maximum(f.astype(np.float64), 1.0))

    @property
    def yields(self) -> Floats:
        """X / N."""
        return self.events / self.cells


@dataclass(frozen=True, slots=True, eq=False)
class Doses:
    """Estimates and limits in Gy, arrays of length n.

    A limit is infinite where the curve does not bound the dose on that side, and NaN where the method has none.
    """

    estimate: Floats
    lower: Floats
    upper: Floats


def point_estimate(curve: Curve, counts: Counts, g: float = 1.0) -> Floats:
    """Dose at the observed yield; 0 for a yield at or below the curve's background."""
    dose, _ = curve.root(counts.yields, g)
    return np.where(counts.yields <= curve.background, 0.0, np.maximum(dose, 0.0))


def delta(curve: Curve, counts: Counts, level: float, g: float = 1.0) -> Doses:
    """Estimate -+ z sqrt(var), var(D) = g' V g + var(y) / Q^2; limits clipped at 0.

    The gradient is taken at the root before it is clipped at 0. Where the yield is below the lowest point of the
    curve, or nothing has a variance, there is no interval: its upper limit is NaN.
    """
    root, q = curve.root(counts.yields, g)
    with np.errstate(invalid="ignore", divide="ignore"):
        gradient = design(root, curve.shape, g) / q[:, None]
        of_curve = np.einsum("ni,ij,nj->n", gradient, curve.covariance, gradient)
        half = normal_quantile(level) * np.sqrt(of_curve + counting_variance(curve, counts) / q**2)
    estimate = point_estimate(curve, counts, g)
    known = half > 0
    return Doses(
        estimate, np.where(known, np.maximum(estimate - half, 0), 0.0), np.where(known, estimate + half, np.nan)
    )


def counting_variance(curve: Curve, counts: Counts) -> Floats:
    """Variance of X / N: phi X / N^2, or binomial p (1 - p) / N."""
    if curve.endpoint == "mnbn":
        return counts.yields * (1 - counts.yields) / counts.cells
    return counts.phi * counts.events / counts.cells**2


def yield_limits(curve: Curve, counts: Counts, level: float) -> tuple[Floats, Floats]:
    """Exact limits of the yield: Garwood on X / phi events in N / phi cells, or Clopper-Pearson.

    Dividing both by phi scales the variance by phi and is Garwood's interval at phi = 1: no jump as DI passes 1.
    """
    tail, x, n = (1 - level) / 2, counts.events, counts.cells
    with np.errstate(invalid="ignore"):
        if curve.endpoint == "mnbn":
            lower = np.where(x > 0, betaincinv(np.where(x > 0, x, 1.0), n - x + 1, tail), 0.0)
            return lower, np.where(x < n, betaincinv(x + 1, np.where(x < n, n - x, 1.0), 1 - tail), 1.0)
        scaled = x / counts.phi
        lower = np.where(x > 0, gammaincinv(np.where(x > 0, scaled, 1.0), tail), 0.0)
        upper = gammaincinv(scaled + 1, 1 - tail)
    return lower * counts.phi / n, upper * counts.phi / n


def merkle(curve: Curve, counts: Counts, level: float, g: float = 1.0) -> Doses:
    """Limits of the yield read off the band's far edges, both at `level` (83 % with 83 %, or 95 % with 95 %)."""
    low, high = yield_limits(curve, counts, level)
    grid = np.concatenate([[0.0], np.geomspace(1e-3, SEARCH_TO, 4000)])
    bottom, top = curve.band(grid, level, g)
    factor = curve.band_factor(level)
    lower = _first_crossing(low, grid, top, lambda d: curve.yields(d, g) + factor * curve.errors(d, g))
    upper = _first_crossing(high, grid, bottom, lambda d: curve.yields(d, g) - factor * curve.errors(d, g))
    # A yield whose upper limit is below the band at 0 Gy has no dose: none is read off, not an interval without width.
    return Doses(point_estimate(curve, counts, g), lower, np.where(upper > 0, upper, np.nan))


def _first_crossing(target: Floats, grid: Floats, values: Floats, function: Callable[[Floats], Floats]) -> Floats:
    """Smallest dose at which `function` reaches each target: 0 where it starts above, infinite where it never does."""
    reached = np.maximum.accumulate(values)
    cell = np.searchsorted(reached, target)
    inside = (cell > 0) & (cell < len(grid))
    low, high = grid[np.where(inside, cell - 1, 0)], grid[np.where(inside, cell, 1)]
    for _ in range(60):
        middle = (low + high) / 2
        below = function(middle) < target
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where(inside, (low + high) / 2, np.where(cell == 0, 0.0, np.inf))
