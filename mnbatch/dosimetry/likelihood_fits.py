"""Counted cells at known doses; maximum likelihood of y = C + a D (+ b D^2): Poisson, binomial, negative binomial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, digamma, gammaln, xlog1py, xlogy

# The data of a calibration curve: counted cells at known doses (`calibration_tables` reads them).


Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DosePoint:
    """Cells counted at one known dose.

    Attributes:
        dose: Gy, at least 0.
        cells: N, counted binucleated cells, at least 1.
        events: X, micronuclei (endpoint mn) or cells with at least one (endpoint mnbn).
        counts: C0, C1, ... cells with k micronuclei; empty where only N and X are known.
        name: what the point is called in messages (line of the table, slide).
        donor: whose blood it is, as the laboratory names persons; "" where it is not known.
    """

    dose: float
    cells: int
    events: int
    counts: tuple[int, ...] = ()
    name: str = ""
    donor: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """Points as arrays, all of length n."""

    dose: Floats
    cells: Floats
    events: Floats

    @classmethod
    def of(cls, points: Sequence[DosePoint]) -> Observations:
        """Arrays of the points, in their order."""
        columns = [[p.dose for p in points], [p.cells for p in points], [p.events for p in points]]
        dose, cells, events = (np.asarray(column, dtype=np.float64) for column in columns)
        return cls(dose, cells, events)


# Maximum likelihood of a calibration curve: y = C + a D (+ b D^2), identity link, Poisson or binomial counts.
#
# Poisson: X_i ~ Poisson(N_i y(D_i)). Binomial (endpoint mnbn): X_i ~ Binomial(N_i, y(D_i)). The identity link keeps
# the coefficients in yields per Gy; it does not keep yields positive by itself, so each Newton step is shortened
# until every fitted yield is, and where a dose without any event pulls its yield to zero the background is fitted on
# the boundary C = 0 (said in `boundary`). Quasi-likelihood scales the covariance by Pearson's chi2 / df, never below
# 1.


Shape = Literal["linear", "linear-quadratic"]
Noise = Literal["poisson", "binomial"]

SMALLEST_YIELD = 1e-9
_STEPS = 200
_CONVERGED = 1e-13


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A fitted curve before any choice of dispersion.

    Attributes:
        coefficients: C, a (and b), in events a cell, per Gy, per Gy^2.
        covariance: inverse of the expected Fisher information, not scaled by any dispersion.
        log_likelihood: at the coefficients, with all constants.
        deviance, pearson: goodness of fit; `df` degrees of freedom are left.
        boundary: the background is on C = 0; its row and column of the covariance are then 0.
    """

    shape: Shape
    noise: Noise
    coefficients: Floats
    covariance: Floats
    log_likelihood: float
    deviance: float
    pearson: float
    df: int
    boundary: bool = False

    @property
    def dispersion(self) -> float | None:
        """Pearson's chi2 / df; None where no degree of freedom is left."""
        return self.pearson / self.df if self.df > 0 else None

    @property
    def p_pearson(self) -> float | None:
        """Probability of a chi2 at least as large; None without degrees of freedom."""
        return float(chdtrc(self.df, self.pearson)) if self.df > 0 else None

    @property
    def p_deviance(self) -> float | None:
        """The same for the deviance."""
        return float(chdtrc(self.df, self.deviance)) if self.df > 0 else None


def design(dose: npt.ArrayLike, shape: Shape, g: float = 1.0) -> Floats:
    """Rows (1, D) or (1, D, g D^2), float64 (n, p)."""
    d = np.asarray(dose, dtype=np.float64)
    columns = [np.ones_like(d), d] if shape == "linear" else [np.ones_like(d), d, g * d * d]
    return np.stack(columns, axis=-1)


def fit(data: Observations, shape: Shape, noise: Noise = "poisson", no_alpha: bool = False) -> Fit:
    """Fit by Fisher scoring with step halving; the likelihood is concave, so there is one maximum.

    Args:
        no_alpha: hold the linear coefficient of a linear-quadratic curve at 0: y = C + beta D^2.

    Raises:
        ValueError: fewer different doses than coefficients, or no event at all.
    """
    full = design(data.dose, shape)
    kept = np.array([i for i in range(full.shape[1]) if not (no_alpha and i == 1)])
    x = full[:, kept]
    if len(np.unique(data.dose)) < x.shape[1]:
        raise ValueError(f"{len(np.unique(data.dose))} different doses cannot give {x.shape[1]} coefficients")
    if not data.events.any():
        raise ValueError("no event was counted at any dose")
    theta = np.zeros(full.shape[1])
    theta[kept] = _maximise(x, data, noise)
    boundary = bool(theta[0] <= 10 * SMALLEST_YIELD) and bool((data.events[data.dose == 0] == 0).all())
    if boundary:
        theta[0] = 0.0
        theta[kept[1:]] = _maximise(x[:, 1:], _without_zero(data), noise, drop=data.dose > 0)
    return _assess(x=full, data=data, shape=shape, noise=noise, theta=theta, boundary=boundary, no_alpha=no_alpha)


def _without_zero(data: Observations) -> Observations:
    kept = data.dose > 0
    return Observations(data.dose[kept], data.cells[kept], data.events[kept])


def _maximise(x: Floats, data: Observations, noise: Noise, drop: npt.NDArray[np.bool_] | None = None) -> Floats:
    """Newton steps, halved until the likelihood rises and every yield stays inside its range."""
    if drop is not None:
        x = x[drop]
    theta = _start(x, data)
    value = _log_likelihood(x @ theta, data, noise)
    for _ in range(_STEPS):
        mu = x @ theta
        slope, curvature = _derivatives(mu, data, noise)
        step = np.asarray(np.linalg.solve(x.T @ (curvature[:, None] * x), x.T @ slope), dtype=np.float64)
        theta, value, gained = _advance(theta=theta, step=step, value=value, x=x, data=data, noise=noise)
        if gained <= _CONVERGED * (1 + abs(value)):
            break
    return theta


def _start(x: Floats, data: Observations) -> Floats:
    """Weighted least squares on the yields, replaced by a flat curve where it gives one outside its range."""
    y = (data.events + 0.5) / (data.cells + 1)
    root = np.sqrt(data.cells / y)
    theta = np.linalg.lstsq(root[:, None] * x, root * y, rcond=None)[0]
    mu = x @ theta
    if mu.min() > SMALLEST_YIELD and mu.max() < 1 - SMALLEST_YIELD:
        return np.asarray(theta, dtype=np.float64)
    flat = np.full(x.shape[1], 1e-6)
    flat[0] = (data.events.sum() + 0.5) / (data.cells.sum() + 1)
    if not np.isclose(x[:, 0], 1).all():
        flat[0] /= x[:, 0].max()
    return flat


def _advance(
    theta: Floats, step: Floats, value: float, x: Floats, data: Observations, noise: Noise
) -> tuple[Floats, float, float]:
    length = 1.0
    for _ in range(60):
        trial = theta + length * step
        reached = _log_likelihood(x @ trial, data, noise)
        if reached >= value:
            return trial, reached, reached - value
        length /= 2
    return theta, value, 0.0


def _log_likelihood(mu: Floats, data: Observations, noise: Noise) -> float:
    """Without constants; minus infinity outside the range of yields."""
    if mu.min() < SMALLEST_YIELD or (noise == "binomial" and mu.max() > 1 - SMALLEST_YIELD):
        return -np.inf
    if noise == "poisson":
        return float(np.sum(data.events * np.log(mu) - data.cells * mu))
    return float(np.sum(data.events * np.log(mu) + (data.cells - data.events) * np.log1p(-mu)))


def _derivatives(mu: Floats, data: Observations, noise: Noise) -> tuple[Floats, Floats]:
    """First derivative by the yield and expected information, each row."""
    if noise == "poisson":
        return data.events / mu - data.cells, data.cells / mu
    return data.events / mu - (data.cells - data.events) / (1 - mu), data.cells / (mu * (1 - mu))


def _assess(
    x: Floats, data: Observations, shape: Shape, noise: Noise, theta: Floats, boundary: bool, no_alpha: bool
) -> Fit:
    mu = x @ theta
    free = [i for i in range(len(theta)) if not (boundary and i == 0) and not (no_alpha and i == 1)]
    used = mu > 0
    _, weight = _derivatives(mu[used], Observations(data.dose[used], data.cells[used], data.events[used]), noise)
    xf = x[used][:, free]
    covariance = np.zeros((len(theta), len(theta)))
    covariance[np.ix_(free, free)] = np.linalg.inv(xf.T @ (weight[:, None] * xf))
    expected = data.cells * mu
    variance = expected * (1 - mu) if noise == "binomial" else expected
    pearson = float(np.sum((data.events[used] - expected[used]) ** 2 / variance[used]))
    df = len(data.dose) - len(free)
    return Fit(
        shape=shape,
        noise=noise,
        coefficients=theta,
        covariance=covariance,
        log_likelihood=full_log_likelihood(mu, data, noise),
        deviance=_deviance(mu, data, noise),
        pearson=pearson,
        df=df,
        boundary=boundary,
    )


def full_log_likelihood(mu: Floats, data: Observations, noise: Noise) -> float:
    """Log likelihood with all constants; `mu` is the yield at each row."""
    x, n = data.events, data.cells
    if noise == "poisson":
        return float(np.sum(xlogy(x, n * mu) - n * mu - gammaln(x + 1)))
    ways = gammaln(n + 1) - gammaln(x + 1) - gammaln(n - x + 1)
    return float(np.sum(xlogy(x, mu) + xlog1py(n - x, -mu) + ways))


def _deviance(mu: Floats, data: Observations, noise: Noise) -> float:
    x, n = data.events, data.cells
    fitted = n * mu
    safe = np.where(fitted > 0, fitted, 1.0)
    part = xlogy(x, np.where(x > 0, x, 1.0) / safe)
    if noise == "poisson":
        return float(2 * np.sum(part - (x - fitted)))
    rest = np.where(n - x > 0, n - x, 1.0) / (n - fitted)
    return float(2 * np.sum(part + xlogy(n - x, rest)))


# Curves with overdispersed counts cell by cell: negative binomial with the identity link.
#
#     NB1: variance = mu (1 + alpha)         NB2: variance = mu + alpha mu^2          mu = C + a D (+ b D^2)
#
# (Cameron and Trivedi, Regression Analysis of Count Data, section 3.3.) Needs the distribution C0, C1, ... at each
# dose: the sums X alone do not tell how the micronuclei are spread over the cells.


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
    from scipy.optimize import minimize  # takes long to load, and only fits need it

    found = minimize(_objective, start, args=(cells, scale, kind), jac=True, method="BFGS", options={"gtol": 1e-7})
    z = _polish(found.x, cells, scale, kind)
    hessian = _hessian(z, cells, scale, kind)
    covariance = np.linalg.inv(hessian)[:-1, :-1] * np.outer(scale, scale)
    value, _ = _objective(z, cells, scale, kind)
    return NegativeBinomialFit(
        kind=kind,
        shape=shape,
        coefficients=z[:-1] * scale,
        covariance=covariance,
        alpha=float(np.exp(z[-1])),
        log_likelihood=-value,
    )


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
