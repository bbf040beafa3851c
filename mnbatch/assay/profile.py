"""Profile likelihood of the dose, constrained to D >= 0 and to coefficients that are not negative.

    pl(D) = min over t >= 0 of  dev(X; N mu) / phi + (t - t0)' V^-1 (t - t0),     mu = (1, D, G D^2) t

dev is the Poisson (or binomial) deviance of the case, t0 and V the curve's coefficients and covariance: the curve is a
Gaussian prior that is profiled out. The penalty depends on t only through mu, so for a given set of coefficients at
zero the minimum over mu solves a quadratic (Poisson) or a cubic (binomial) equation: nothing is iterated. All seven
sets are tried and the best that is feasible taken, which is exact because the problem is convex. The interval holds
the doses round the estimate with pl(D) - pl(estimate) <= chi2(level, 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.special import chdtri, xlogy

from mnbatch.assay.curve import Curve
from mnbatch.assay.curve_table import Floats
from mnbatch.assay.dose_methods import SEARCH_TO, Counts, Doses, point_estimate
from mnbatch.assay.fitting import design

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
