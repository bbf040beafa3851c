"""A calibration curve: yield against dose, with its uncertainty, its range and how its slides were scored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import chdtri

from mnbatch.assay.curve_table import Floats
from mnbatch.assay.fitting import Shape, design

Endpoint = Literal["mn", "mnbn"]
Uncertainty = Literal["covariance", "standard errors", "none"]

COEFFICIENTS = ("C", "alpha", "beta")
_PSD_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """y(D) = C + alpha D + beta G D^2, in events a cell (micronuclei, or cells with at least one), D in Gy.

    Attributes:
        coefficients: (C, alpha) or (C, alpha, beta).
        covariance: (p, p); diagonal where only standard errors are known, zeros where nothing is.
        uncertainty: which of the three it is.
        dose_range: lowest and highest dose that was measured; None where not stated.
        scoring: how the slides were scored: free text values, of which `mode`, `model_digest` and `threshold` are
            compared with the case's.
        about: everything else that the curve's file says (name, source, fit); kept and shown; only the
            fit's factor on the covariance is computed with (`slide_scatter`).
    """

    shape: Shape
    endpoint: Endpoint
    coefficients: Floats
    covariance: Floats
    uncertainty: Uncertainty = "covariance"
    dose_range: tuple[float, float] | None = None
    scoring: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def background(self) -> float:
        """C, events a cell at 0 Gy."""
        return float(self.coefficients[0])

    @property
    def standard_errors(self) -> Floats:
        """Square roots of the variances."""
        return np.asarray(np.sqrt(np.maximum(np.diag(self.covariance), 0)), dtype=np.float64)

    @property
    def slide_scatter(self) -> float:
        """How much more than counting explains the slides of a curve scatter about it (chi2 / df, at least 1).

        A case is a slide like them, and its own count knows nothing of what differs from slide to slide: not a
        binomial one, and not the dispersion index of a count by a classifier, whose errors are a slide's. 1 for mn that
        a person scored, where the case's own dispersion index stands for it, and where the file does not carry its fit.
        """
        fitted = self.about.get("fit")
        factor = fitted.get("covariance_factor") if isinstance(fitted, Mapping) else None
        per_slide = self.endpoint == "mnbn" or str(self.scoring.get("mode", "")).startswith("automated")
        known = per_slide and isinstance(factor, int | float) and math.isfinite(factor)
        return max(1.0, float(factor)) if known and factor is not None else 1.0

    @property
    def highest_dose(self) -> float | None:
        """End of the measured range in Gy."""
        return None if self.dose_range is None else self.dose_range[1]

    def yields(self, dose: npt.ArrayLike, g: float = 1.0) -> Floats:
        """Events a cell at each dose (n,)."""
        return np.asarray(design(dose, self.shape, g) @ self.coefficients, dtype=np.float64)

    def errors(self, dose: npt.ArrayLike, g: float = 1.0) -> Floats:
        """Standard error of the curve's yield at each dose (n,): sqrt(g' V g)."""
        x = design(dose, self.shape, g)
        variance = np.einsum("...i,ij,...j->...", x, self.covariance, x)
        return np.asarray(np.sqrt(np.maximum(variance, 0)), dtype=np.float64)

    def band(self, dose: npt.ArrayLike, level: float = 0.95, g: float = 1.0) -> tuple[Floats, Floats]:
        """Simultaneous band y(D) -+ R se(D) with R = sqrt(chi2(level, p)), p coefficients."""
        y, half = self.yields(dose, g), self.band_factor(level) * self.errors(dose, g)
        return y - half, y + half

    def band_factor(self, level: float) -> float:
        """R of the band."""
        return math.sqrt(float(chdtri(len(self.coefficients), 1 - level)))

    def root(self, yields: npt.ArrayLike, g: float = 1.0) -> tuple[Floats, Floats]:
        """Dose at which the curve has these yields, and the curve's slope Q there; before any clipping at 0.

        D = 2 (y - C) / (a + Q), Q = sqrt(a^2 + 4 b G (y - C)): equal to (-a + Q) / (2 b G), and right where b G is 0.
        NaN where the yield lies below the curve's lowest point.
        """
        c, a, *rest = self.coefficients
        quadratic = (rest[0] if rest else 0.0) * g
        above = np.asarray(yields, dtype=np.float64) - c
        with np.errstate(invalid="ignore", divide="ignore"):
            q = np.sqrt(a * a + 4 * quadratic * above)
            dose = np.where(above == 0, 0.0, 2 * above / (a + q))
        return dose, q

    def as_scored(self, gain: float, offset: float, covariance: npt.ArrayLike) -> Curve:
        """The curve as a scorer sees it whose yield is offset + gain * y: errors of the scorer enter its covariance.

        Args:
            gain: events that are found, a true one (sensitivity; for mnbn sensitivity + specificity - 1).
            offset: false events a cell (1 - specificity).
            covariance: (2, 2) of (gain, offset).

        To first order: V' = gain^2 V + var(gain) t t' + cov terms, t the coefficients.
        """
        errors = np.asarray(covariance, dtype=np.float64)
        first = np.zeros_like(self.coefficients)
        first[0] = 1.0
        by_scorer = np.stack([self.coefficients, first], axis=1)  # derivatives by gain and offset
        joint = gain**2 * self.covariance + by_scorer @ errors @ by_scorer.T + errors[0, 0] * self.covariance
        return replace(self, coefficients=gain * self.coefficients + offset * first, covariance=joint)


def problems(curve: Curve) -> tuple[str, ...]:
    """Why no dose can be read from this curve; empty for one that rises with dose."""
    if not (np.isfinite(curve.coefficients).all() and np.isfinite(curve.covariance).all()):
        return ("a coefficient or a covariance is not a finite number",)
    found = [*_shape_problems(curve)]
    if not _is_covariance(curve.covariance):
        found.append("the covariance is not positive semidefinite: no data can have it")
    return tuple(found)


def _shape_problems(curve: Curve) -> list[str]:
    c, a, *rest = (float(value) for value in curve.coefficients)
    b = rest[0] if rest else 0.0
    found = []
    if c < 0:
        found.append(f"its background C = {c:.4g} is negative")
    if b < 0 and a > 0:
        found.append(
            f"its quadratic coefficient beta = {b:.4g} is negative: the curve turns down at {-a / (2 * b):.3g} Gy, so "
            "a yield has two doses or none; fit a linear curve, or leave out doses at which the yield saturates"
        )
    elif a < 0:
        found.append(f"it falls with dose (alpha = {a:.4g}): a yield has no single dose")
    elif a == 0 and b <= 0:
        found.append("it does not rise with dose (flat)" if b == 0 else f"it falls with dose (beta = {b:.4g})")
    return found


def _is_covariance(matrix: Floats) -> bool:
    """Symmetric, no negative variance, and no negative eigenvalue of the correlation matrix beyond rounding."""
    variances = np.diag(matrix)
    scale = np.sqrt(np.where(variances > 0, variances, 1.0))
    correlation = matrix / np.outer(scale, scale)
    if (variances < 0).any() or not np.allclose(correlation, correlation.T, atol=1e-6):
        return False
    return bool(np.linalg.eigvalsh((correlation + correlation.T) / 2).min() >= -_PSD_TOLERANCE)
