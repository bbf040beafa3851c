"""Curves with overdispersed counts cell by cell: negative binomial with the identity link.

    NB1: variance = mu (1 + alpha)         NB2: variance = mu + alpha mu^2          mu = C + a D (+ b D^2)

(Cameron and Trivedi, Regression Analysis of Count Data, section 3.3.) Needs the distribution C0, C1, ... at each
dose: the sums X alone do not tell how the micronuclei are spread over the cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import minimize
from scipy.special import digamma, gammaln

from mnbatch.assay.curve_table import DosePoint, Floats, Observations
from mnbatch.assay.fitting import SMALLEST_YIELD, Shape, design, fit

Kind = Literal["nb1", "nb2"]


@dataclass(frozen=True, slots=True, eq=False)
class NegativeBinomialFit:
    """Coefficients with their covariance (observed information), and the dispersion parameter.

    Attributes:
        alpha: overdispersion; 0 is the Poisson distribution.
        log_likelihood: over single cells, with all constants.
    """

    kind: Kind
    shape: Shape
    coefficients: Floats
    covariance: Floats
    alpha: float
    log_likelihood: float


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """Cells of equal dose and equal number of micronuclei, with their weight."""

    x: Floats
    k: Floats
    weight: Floats


def fit_negative_binomial(points: Sequence[DosePoint], shape: Shape, kind: Kind) -> NegativeBinomialFit:
    """Fit by maximum likelihood, started at the Poisson fit.

    Raises:
        ValueError: a point without its distribution C0, C1, ..., or data that give no Poisson fit.
    """
    if any(not point.counts for point in points):
        raise ValueError("a negative binomial fit needs C0, C1, ... at every dose, not N and X alone")
    poisson = fit(Observations.of(points), shape, "poisson")
    cells = _cells(points, shape)
    # Unit scale for each parameter, so that one step length and one tolerance fit all of them.
    scale = np.maximum(np.abs(poisson.coefficients), np.sqrt(np.diag(poisson.covariance)))
    start = np.concatenate([poisson.coefficients / scale, [np.log(0.05)]])
    found = minimize(_objective, start, args=(cells, scale, kind), jac=True, method="BFGS", options={"gtol": 1e-7})
    z = _polish(found.x, cells, scale, kind)
    hessian = _hessian(z, cells, scale, kind)
    covariance = np.linalg.inv(hessian)[:-1, :-1] * np.outer(scale, scale)
    value, _ = _objective(z, cells, scale, kind)
    return NegativeBinomialFit(kind, shape, z[:-1] * scale, covariance, float(np.exp(z[-1])), -value)


def _cells(points: Sequence[DosePoint], shape: Shape) -> _Cells:
    dose = np.array([p.dose for p in points for _ in p.counts], dtype=np.float64)
    k = np.array([k for p in points for k in range(len(p.counts))], dtype=np.float64)
    weight = np.array([n for p in points for n in p.counts], dtype=np.float64)
    kept = weight > 0
    return _Cells(design(dose[kept], shape), k[kept], weight[kept])


def _objective(z: Floats, cells: _Cells, scale: Floats, kind: Kind) -> tuple[float, Floats]:
    """Negative log likelihood and its gradient by (coefficients / scale, log alpha)."""
    mu = cells.x @ (z[:-1] * scale)
    if mu.min() < SMALLEST_YIELD:
        return 1e300, np.zeros_like(z)
    alpha = float(np.exp(z[-1]))
    r = mu / alpha if kind == "nb1" else np.full_like(mu, 1 / alpha)  # number of failures of the distribution
    k, w = cells.k, cells.weight
    terms = gammaln(k + r) - gammaln(r) - gammaln(k + 1) - r * np.log1p(mu / r) + k * (np.log(mu) - np.log(mu + r))
    by_r = digamma(k + r) - digamma(r) - np.log1p(mu / r) + (mu - k) / (mu + r)
    by_mu = k / mu - (k + r) / (mu + r)
    if kind == "nb1":
        slope, by_log_alpha = by_mu + by_r / alpha, -by_r * r
    else:
        slope, by_log_alpha = by_mu, -by_r * r
    gradient = np.concatenate([(cells.x.T @ (w * slope)) * scale, [np.sum(w * by_log_alpha)]])
    return -float(np.sum(w * terms)), -gradient


def _hessian(z: Floats, cells: _Cells, scale: Floats, kind: Kind, step: float = 1e-4) -> Floats:
    """Central differences of the exact gradient, symmetrised."""
    columns = []
    for i in range(len(z)):
        shift = np.zeros_like(z)
        shift[i] = step
        up, down = (_objective(z + sign * shift, cells, scale, kind)[1] for sign in (1, -1))
        columns.append((up - down) / (2 * step))
    matrix = np.stack(columns)
    return np.asarray((matrix + matrix.T) / 2, dtype=np.float64)


def _polish(z: Floats, cells: _Cells, scale: Floats, kind: Kind) -> Floats:
    """A few Newton steps: BFGS stops when the gain is lost in the rounding of a large sum."""
    for _ in range(5):
        value, gradient = _objective(z, cells, scale, kind)
        trial = z - np.linalg.solve(_hessian(z, cells, scale, kind), gradient)
        if not np.isfinite(trial).all() or _objective(trial, cells, scale, kind)[0] > value + 1e-9 * abs(value):
            break
        z = trial
    return z
