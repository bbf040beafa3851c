"""A calibration curve: yield against dose, with its uncertainty and range; its file, and the published examples."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy.special import chdtri

from mnbatch.dosimetry.likelihood_fits import Floats, Shape, design
from mnbatch.dosimetry.plausible_curves import refuse_other_units
from mnbatch.errors import StorageError, UsageError
from mnbatch.intake import parse_json, read_text, reason, short

# Protracted exposure: lesions repaired during a long exposure no longer act in pairs, so G lowers the D^2 term.


REPAIR_HOURS = 2.0
"""Mean time in which a lesion is repaired (IAEA, EPR-Biodosimetry 2011, about 2 h)."""


def protraction_factor(hours: float, repair_hours: float = REPAIR_HOURS) -> float:
    """G(x) = 2 / x^2 (x - 1 + exp(-x)) with x = hours / repair_hours; 1 for an acute exposure, 0 for an endless one.

    Args:
        hours: duration of an exposure of constant dose rate, at least 0.

    Raises:
        ValueError: negative or not finite.
    """
    if not (math.isfinite(hours) and hours >= 0):
        raise ValueError(f"an exposure cannot last {hours} hours")
    x = hours / repair_hours
    if x < 0.01:
        # The series: x - 1 + exp(-x) would lose its digits to cancellation.
        return 1 - x / 3 + x * x / 12 - x**3 / 60
    return 2 / x**2 * (x + math.expm1(-x))


# A calibration curve: yield against dose, with its uncertainty, its range and how its slides were scored.


Endpoint = Literal["mn", "mnbn"]
Uncertainty = Literal["covariance", "standard errors", "none"]

COEFFICIENTS = ("C", "alpha", "beta")
MNBATCH_MODES = ("automated", "confirmed (mnbatch", "reviewed (mnbatch")
"""How the scoring mode begins of counts whose errors are a slide's: a classifier's, and those a person confirmed."""
_PSD_TOLERANCE = 1e-6


IRRADIATION: Mapping[str, str] = {
    "source": "Source",
    "quality": "Radiation quality",
    "dose_rate": "Dose rate",
    "temperature": "Temperature",
    "calibration": "Calibration of the doses",
}
"""Keys of a curve's `irradiation` -> label."""


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
        a person scored, where the case's own dispersion index is used, and where the file does not carry its fit.
        """
        fitted = self.about.get("fit")
        factor = fitted.get("covariance_factor") if isinstance(fitted, Mapping) else None
        per_slide = self.endpoint == "mnbn" or str(self.scoring.get("mode", "")).startswith(MNBATCH_MODES)
        known = per_slide and isinstance(factor, int | float) and math.isfinite(factor)
        return max(1.0, float(factor)) if known and factor is not None else 1.0

    @property
    def slide_cells(self) -> float | None:
        """Mean number of cells of a slide of the curve; None where its file does not carry its points."""
        fitted = self.about.get("fit")
        points = fitted.get("points") if isinstance(fitted, Mapping) else None
        known = [p.get("n") for p in points or () if isinstance(p, Mapping)]
        cells = [float(n) for n in known if isinstance(n, int | float) and n > 0]
        return float(np.mean(cells)) if cells else None

    def scatter_of(self, slide_cells: float) -> float:
        """`slide_scatter` of a case whose slides have so many cells.

        What differs from slide to slide adds a part to the variance that grows with the cells of a slide as n (n - 1),
        and counting one that grows as n: the factor is 1 + (n - 1) r. Few slides tell little of r, and it differs with
        dose; so its upper 80 % limit is taken away from the size of the curve's own slides, where the factor is that
        of the fit. A smaller slide has at most that factor.

        Args:
            slide_cells: of one slide; of several the mean weighted by their cells (sum n^2 / sum n).
        """
        own = self.slide_cells
        if own is None or own <= 1:
            return self.slide_scatter
        r = self._largest_scatter()
        if slide_cells <= own:
            return min(self.slide_scatter, 1 + r * max(0.0, slide_cells - 1))
        return self.slide_scatter + r * (slide_cells - own)

    def _largest_scatter(self) -> float:
        """r of `scatter_of` at its upper 80 % limit (chi2 of the fit), 0 where the slides do not scatter."""
        own, factor, df = self.slide_cells, self.slide_scatter, self.scatter_df
        if own is None or own <= 1 or factor <= 1:
            return 0.0
        upper = factor if df is None else factor * df / float(chdtri(df, 0.8))
        return (upper - 1) / (own - 1)

    @property
    def scatter_df(self) -> int | None:
        """Degrees of freedom that `slide_scatter` was estimated with; None where the file does not say."""
        fitted = self.about.get("fit")
        df = fitted.get("df") if isinstance(fitted, Mapping) else None
        return df if isinstance(df, int) and df > 0 else None

    @property
    def background_counts(self) -> tuple[int, int] | None:
        """(events, cells) that were counted at 0 Gy; None where the file does not carry its points."""
        fitted = self.about.get("fit")
        points = fitted.get("points") if isinstance(fitted, Mapping) else None
        zero = [p for p in points or () if isinstance(p, Mapping) and p.get("dose") == 0]
        if not points or any(not isinstance(p.get(key), int) for p in zero for key in ("n", "x")):
            return None
        return sum(p["x"] for p in zero), sum(p["n"] for p in zero)

    @property
    def background_estimate(self) -> tuple[float, float]:
        """C and its standard error, events a cell, as characteristic limits use them.

        A curve without any event at 0 Gy has C = 0 on the boundary and no row of C in its covariance. That is not
        known without error: one event more among its cells is taken, with the error of one event.
        """
        error, counted = float(self.standard_errors[0]), self.background_counts
        if self.background == 0 and error == 0 and counted is not None and counted[1] > 0:
            return 1.0 / counted[1], 1.0 / counted[1]
        return self.background, error

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
        NaN where the yield is below the curve's lowest point.
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
        about = {**self.about, "as_scored": True}
        return replace(self, coefficients=gain * self.coefficients + offset * first, covariance=joint, about=about)


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


# curve.json: a calibration curve as a file, and the documented examples that ship with the package.


EXAMPLE_PREFIX = "example:"
_LARGEST = 1e6


Finite = Annotated[float, Field(allow_inf_nan=False)]


class FittedPoint(BaseModel):
    """A calibration point in curve.json; what it does not name is kept."""

    model_config = ConfigDict(extra="allow")

    dose: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    observed: Annotated[Finite | None, Field(alias="yield")] = None


class FittedAs(BaseModel):
    """What curve.json says of its own fit: all of it may be absent, none of it may be of another kind."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model_choice: str | None = None
    family: str | None = None
    family_choice: str | None = None
    covariance_factor: Finite | None = None
    pearson_chi2: Finite | None = None
    deviance: Finite | None = None
    df: int | None = None
    p_pearson: Finite | None = None
    p_deviance: Finite | None = None
    points: list[FittedPoint] | None = None


class CurveFile(BaseModel):
    """The schema of curve.json; what it does not name is kept and shown.

    Attributes:
        coefficients: C, alpha and, for a linear-quadratic curve, beta.
        covariance: rows and columns in the order C, alpha, beta; null where it is not known.
        standard_errors: by name or in that order; used where there is no covariance.
        dose_range: lowest and highest measured dose in Gy.
        scoring: how the slides were scored: a text, or values such as mode, model, model_digest, threshold.
        fit: how it was fitted; null for a curve of the literature.
    """

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())

    model: Literal["linear", "linear-quadratic"]
    endpoint: Literal["mn", "mnbn"]
    coefficients: dict[str, float]
    covariance: list[list[float]] | None = None
    standard_errors: dict[str, float] | list[float] | None = None
    dose_range: tuple[float, float] | None = None
    scoring: dict[str, Any] | str | None = Field(default=None)
    fit: FittedAs | None = None

    def curve(self) -> Curve:
        """The curve.

        Raises:
            ValueError: coefficients, covariance and model do not fit together; says which.
        """
        names = COEFFICIENTS[: 2 if self.model == "linear" else 3]
        self._refuse_impossible()
        refuse_other_units(self.model_extra or {})
        if set(self.coefficients) != set(names):
            raise ValueError(f"a {self.model} curve has the coefficients {', '.join(names)}")
        covariance, uncertainty = self._uncertainty(names)
        return Curve(
            shape=self.model,
            endpoint=self.endpoint,
            coefficients=np.array([self.coefficients[name] for name in names]),
            covariance=covariance,
            uncertainty=uncertainty,
            dose_range=self._range(),
            scoring={"mode": self.scoring} if isinstance(self.scoring, str) else dict(self.scoring or {}),
            about=dict(self.model_extra or {}) | ({"fit": self._fit()} if self.fit else {}),
        )

    def _fit(self) -> dict[str, Any]:
        return self.fit.model_dump(by_alias=True, exclude_unset=True) if self.fit else {}

    def _refuse_impossible(self) -> None:
        """A yield of a million a cell, and a million Gy, are far beyond any; their squares must not overflow."""
        errors = self.standard_errors or []
        values = [*self.coefficients.values(), *(errors.values() if isinstance(errors, dict) else errors)]
        values += self.dose_range or ()
        squares = [value for row in self.covariance or [] for value in row]
        if not all(abs(value) <= _LARGEST for value in values) or not all(abs(v) <= _LARGEST**2 for v in squares):
            raise ValueError(f"it holds a number that is not finite or beyond {_LARGEST:g}")

    def _uncertainty(self, names: tuple[str, ...]) -> tuple[Any, Uncertainty]:
        p = len(names)
        if self.covariance is not None:
            if [len(row) for row in self.covariance] != [p] * p:
                raise ValueError(f"the covariance of a {self.model} curve has {p} rows of {p} numbers")
            return np.array(self.covariance), "covariance"
        if not self.standard_errors:
            return np.zeros((p, p)), "none"
        errors = self.standard_errors
        values = [errors.get(name) for name in names] if isinstance(errors, dict) else [*errors]
        if len(values) != p or any(value is None or not value >= 0 for value in values):
            raise ValueError(f"standard errors are {p} numbers of 0 or more, for {', '.join(names)}")
        return np.diag(np.square(np.array(values, dtype=np.float64))), "standard errors"

    def _range(self) -> tuple[float, float] | None:
        if self.dose_range is not None and not 0 <= self.dose_range[0] < self.dose_range[1]:
            raise ValueError("dose_range is the lowest and the highest measured dose, in Gy")
        return self.dose_range


def load_curve(source: str | Path) -> Curve:
    """The curve at a path, or one of the examples by its name ("example:mayakannan2018").

    Raises:
        UsageError: no such file or example, or its content is not a curve.
        StorageError: the file cannot be read.
    """
    text = _example(str(source)) if str(source).startswith(EXAMPLE_PREFIX) else _read(Path(source))
    try:
        return CurveFile.model_validate(parse_json(text)).curve()
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UsageError(f"{source} is not a curve: {short(place)}: {short(first['msg'].lower())}.", _SEE) from error
    except (ValueError, ArithmeticError) as error:
        raise UsageError(f"{source} is not a curve: {reason(error)}.", _SEE) from error


def dump_curve(curve: Curve) -> bytes:
    """curve.json of a curve."""
    names = COEFFICIENTS[: len(curve.coefficients)]
    errors = dict(zip(names, curve.standard_errors.tolist(), strict=True))
    content = {
        **curve.about,
        "model": curve.shape,
        "endpoint": curve.endpoint,
        "coefficients": dict(zip(names, curve.coefficients.tolist(), strict=True)),
        "covariance": curve.covariance.tolist() if curve.uncertainty == "covariance" else None,
        "standard_errors": None if curve.uncertainty == "none" else errors,
        "dose_range": list(curve.dose_range) if curve.dose_range else None,
        "scoring": dict(curve.scoring),
    }
    return (json.dumps(content, indent=1, ensure_ascii=True) + "\n").encode()


def example_names() -> list[str]:
    """The examples that `load_curve` knows, with their prefix."""
    folder = resources.files("mnbatch.dosimetry").joinpath("curves")
    return sorted(EXAMPLE_PREFIX + f.name.removesuffix(".json") for f in folder.iterdir() if f.name.endswith(".json"))


_SEE = "docs/statistics.md shows the format of a curve file."


def _example(name: str) -> str:
    if name not in example_names():
        raise UsageError(f"There is no curve {name}.", f"Examples are {', '.join(example_names())}.")
    file = resources.files("mnbatch.dosimetry").joinpath("curves", name.removeprefix(EXAMPLE_PREFIX) + ".json")
    return file.read_text(encoding="utf-8")


def _read(path: Path) -> str:
    try:
        return read_text(path)
    except FileNotFoundError as error:
        raise UsageError(f"There is no curve file {path}.", f"Or take one of {', '.join(example_names())}.") from error
    except ValueError as error:
        raise UsageError(f"{path} is not a curve: {reason(error)}.", _SEE) from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {reason(error)}.", "Check its permissions.") from error
