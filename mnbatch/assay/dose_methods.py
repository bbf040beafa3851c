"""Dose from a counted case: three intervals, all vectorised over cases.

* `profile` (the default): profile likelihood of the dose, constrained to D >= 0 (module `profile`).
* `delta`: normal approximation on the dose (first-order error propagation).
* `merkle`: Poisson limits of the yield projected onto the curve's confidence band (Merkle 1983, Savage et al. 2000).

None of them alters an observation, and all scale the counting variance continuously by max(1, DI).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, gammaincinv

from mnbatch.assay.curve import Curve
from mnbatch.assay.curve_table import Floats
from mnbatch.assay.fitting import design
from mnbatch.assay.intervals import normal_quantile

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

    The gradient is taken at the root before it is clipped at 0. Where the yield lies below the lowest point of the
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
    return Doses(point_estimate(curve, counts, g), lower, upper)


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
