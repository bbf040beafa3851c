"""curve.json: a calibration curve as a file, and the documented examples that ship with the package."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mnbatch.assay.curve import COEFFICIENTS, Curve, Uncertainty
from mnbatch.errors import StorageError, UsageError
from mnbatch.intake import parse_json, read_text, reason, short

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
    folder = resources.files("mnbatch.assay").joinpath("curves")
    return sorted(EXAMPLE_PREFIX + f.name.removesuffix(".json") for f in folder.iterdir() if f.name.endswith(".json"))


_SEE = "docs/statistics.md shows what a curve file looks like."


def _example(name: str) -> str:
    if name not in example_names():
        raise UsageError(f"There is no curve {name}.", f"Examples are {', '.join(example_names())}.")
    file = resources.files("mnbatch.assay").joinpath("curves", name.removeprefix(EXAMPLE_PREFIX) + ".json")
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
