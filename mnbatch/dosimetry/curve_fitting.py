"""From calibration data to a curve: which model and which noise, with the reason, and refused where it is no curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from scipy.special import chdtrc, fdtrc

from mnbatch.assay.mn_counts import Distribution
from mnbatch.dosimetry.calibration_curve import COEFFICIENTS, Curve, Endpoint, problems
from mnbatch.dosimetry.likelihood_fits import (
    DosePoint,
    Fit,
    Kind,
    Noise,
    Observations,
    Shape,
    fit,
    fit_negative_binomial,
)
from mnbatch.errors import CurveError

ModelChoice = Literal["automatic", "linear", "linear-quadratic"]
Family = Literal["automatic", "poisson", "quasi-poisson", "nb1", "nb2", "binomial", "quasi-binomial"]

FLAT_P = 0.05
LACK_OF_FIT_P = 0.001
"""Below it the doses' means are off the curve by more than slides of one dose differ: the curve is refused."""
_NEXT = "Give more doses, or other ones; docs/statistics.md says what is checked."


def fit_curve(
    points: Sequence[DosePoint],
    endpoint: Endpoint,
    model: ModelChoice = "automatic",
    family: Family = "automatic",
    scoring: Mapping[str, Any] | None = None,
) -> Curve:
    """Fit a calibration curve and say how it was chosen and how well it fits (`about["fit"]`).

    Raises:
        CurveError: the data give no curve: too few doses, no degree of freedom left, no rise with dose, a curve that
            turns down; or the family does not go with the endpoint.
    """
    _check_family(endpoint, family)
    chosen, no_alpha, why = _shape(points, endpoint, model)
    found = _fit(points, chosen, endpoint, no_alpha)
    _check_rise(points, found, endpoint)
    lack = _lack_of_fit(points, found, endpoint)
    curve, about = _with_noise(points, found, endpoint, family)
    curve = replace(curve, dose_range=(min(p.dose for p in points), max(p.dose for p in points)), scoring=scoring or {})
    faults = problems(curve)
    if faults:
        raise CurveError(f"The data give no curve that a dose can be read from: {'; '.join(faults)}.", _NEXT)
    if lack is not None and lack < LACK_OF_FIT_P:
        raise CurveError(
            f"No {_named(found.shape, no_alpha)} goes through the data (lack of fit p = {lack:.2g}; {why}): the doses "
            "are off it by more than slides scatter.",
            "Check the doses; leave out those at which the yield saturates, or give more doses.",
        )
    about = {"model_choice": why, **about, **_goodness(points, found), "lack_of_fit_p": lack}
    about["points"] = _points(points, endpoint, curve)
    return replace(curve, about={"fit": about})


def _check_family(endpoint: Endpoint, family: Family) -> None:
    of_cells = family in ("binomial", "quasi-binomial")
    if family != "automatic" and of_cells != (endpoint == "mnbn"):
        right = "binomial or quasi-binomial" if endpoint == "mnbn" else "poisson, quasi-poisson, nb1 or nb2"
        raise CurveError(f"The family {family} does not go with the endpoint {endpoint}.", f"Take {right}.")


def _named(shape: Shape, no_alpha: bool) -> str:
    return "curve C + beta D^2" if no_alpha else "straight line" if shape == "linear" else "linear-quadratic curve"


def _fit(points: Sequence[DosePoint], shape: Shape, endpoint: Endpoint, no_alpha: bool = False) -> Fit:
    noise: Noise = "binomial" if endpoint == "mnbn" else "poisson"
    try:
        found = fit(Observations.of(points), shape, noise, no_alpha)
    except ValueError as error:
        raise CurveError(f"The data give no {shape} curve: {error}.", _NEXT) from error
    if found.df < 1:
        raise CurveError(
            f"The data give no {shape} curve that can be checked: {len(points)} rows for {len(found.coefficients)} "
            "coefficients leave no degree of freedom.",
            _NEXT,
        )
    return found


def _shape(points: Sequence[DosePoint], endpoint: Endpoint, model: ModelChoice) -> tuple[Shape, bool, str]:
    """The model asked for; automatically linear-quadratic where the data bear it; and whether alpha is held at 0."""
    if model != "automatic":
        return model, False, "as asked for"
    doses = len({p.dose for p in points})
    if doses < 4 or len(points) < 4:
        return "linear", False, f"{doses} doses are too few for a linear-quadratic curve"
    beta = _fit(points, "linear-quadratic", endpoint).coefficients
    if beta[2] < 0:
        return "linear", False, f"the quadratic coefficient would be negative ({beta[2]:.3g})"
    if beta[1] < 0:
        # A line would be off by more at every dose: the data are more quadratic than any linear-quadratic curve.
        return "linear-quadratic", True, f"alpha would be negative ({beta[1]:.3g}) and is held at 0: C + beta D^2"
    return "linear-quadratic", False, "alpha and beta are both positive"


def _lack_of_fit(points: Sequence[DosePoint], found: Fit, endpoint: Endpoint) -> float | None:
    """p of doses this far off the curve, against the scatter of slides of one dose; None where it cannot be tested.

    F of (chi2 of the curve - chi2 within doses) / its df over the mean scatter within doses (at least 1), as for
    replicates in a linear regression (Draper and Smith, Applied Regression Analysis, 3rd ed. 1998, 2.1). Without
    replicates a straight line is compared with the curve that has a quadratic term as well.
    """
    doses = {p.dose for p in points}
    pure, df_pure = _within_doses(points, endpoint)
    more = len(doses) - (len(points) - found.df)
    if df_pure >= len(doses) // 2 and df_pure > 0:
        if more < 1:
            return None
        scatter = max(1.0, pure / df_pure)
        ratio = max(0.0, found.pearson - pure) / more / scatter
        return float(chdtrc(more, ratio * more)) if scatter == 1 else float(fdtrc(more, df_pure, ratio))
    if found.shape == "linear" and len(points) >= 5 and len(doses) >= 4:
        bent = _fit(points, "linear-quadratic", endpoint)
        gain = max(0.0, found.pearson - bent.pearson)
        return float(fdtrc(1, bent.df, gain / max(1.0, bent.dispersion or 1.0)))
    return None


def _within_doses(points: Sequence[DosePoint], endpoint: Endpoint) -> tuple[float, int]:
    """Pearson's chi2 of the points about the mean of their dose, and its degrees of freedom."""
    chi2, df = 0.0, 0
    for dose in {p.dose for p in points}:
        same = [p for p in points if p.dose == dose]
        rate = sum(p.events for p in same) / sum(p.cells for p in same)
        spread = rate * (1 - rate) if endpoint == "mnbn" else rate
        if spread > 0:
            chi2 += sum((p.events - p.cells * rate) ** 2 / (p.cells * spread) for p in same)
            df += len(same) - 1
    return chi2, df


def _check_rise(points: Sequence[DosePoint], found: Fit, endpoint: Endpoint) -> None:
    """Refuse data that fall, or that a yield without any dose explains as well (likelihood ratio, quasi-scaled)."""
    data = Observations.of(points)
    rate = data.events.sum() / data.cells.sum()
    expected = data.cells * rate
    variance = expected * (1 - rate) if endpoint == "mnbn" else expected
    pearson = float(np.sum((data.events - expected) ** 2 / variance))
    gain = (pearson - found.pearson) / max(1.0, found.dispersion or 1.0)
    p = float(chdtrc(len(found.coefficients) - 1, max(gain, 0.0)))
    if p > FLAT_P:
        raise CurveError(f"The yield does not rise with dose (p = {p:.2g}): the data are flat.", _NEXT)
    if np.cov(data.dose, data.events / data.cells, aweights=data.cells)[0, 1] <= 0:
        raise CurveError("The yield falls with dose: there is no dose to be read from such data.", _NEXT)


def _with_noise(
    points: Sequence[DosePoint], found: Fit, endpoint: Endpoint, family: Family
) -> tuple[Curve, dict[str, Any]]:
    if family == "nb1" or family == "nb2":
        return _negative_binomial(points, found.shape, family)
    dispersion = found.dispersion or 1.0
    plain, quasi = ("binomial", "quasi-binomial") if endpoint == "mnbn" else ("poisson", "quasi-poisson")
    used, choice = str(family), "as asked for"
    if family == "automatic":
        over = dispersion > 1
        used, choice = quasi if over else plain, f"chi2 / df = {dispersion:.3f} is {'' if over else 'not '}above 1"
    factor = max(1.0, dispersion) if used == quasi else 1.0
    curve = Curve(found.shape, endpoint, found.coefficients, found.covariance * factor)
    return curve, {"family": used, "family_choice": choice, "covariance_factor": factor}


def _negative_binomial(points: Sequence[DosePoint], shape: Shape, kind: Kind) -> tuple[Curve, dict[str, Any]]:
    try:
        nb = fit_negative_binomial(points, shape, kind)
    except ValueError as error:
        raise CurveError(f"The data give no {kind.upper()} curve: {error}.", "Take --family automatic.") from error
    curve = Curve(shape, "mn", nb.coefficients, nb.covariance)
    about = {"family": kind, "family_choice": "as asked for", "alpha": nb.alpha}
    return curve, {**about, "cell_log_likelihood": nb.log_likelihood}


def _goodness(points: Sequence[DosePoint], found: Fit) -> dict[str, Any]:
    """Of the Poisson (binomial) fit of the sums, whatever the family of the covariance."""
    return {
        "log_likelihood": found.log_likelihood,
        "deviance": found.deviance,
        "pearson_chi2": found.pearson,
        "df": found.df,
        "dispersion": found.dispersion,
        "p_pearson": found.p_pearson,
        "p_deviance": found.p_deviance,
        "background_on_boundary": found.boundary,
        "cells": sum(p.cells for p in points),
        "events": sum(p.events for p in points),
    }


def _points(points: Sequence[DosePoint], endpoint: Endpoint, curve: Curve) -> list[dict[str, Any]]:
    """The data with their dispersion, and how far each is off the curve in standard errors of its count."""
    # A curve's file goes to other laboratories: persons are numbers there, not the names that the laboratory uses.
    persons = {donor: i for i, donor in enumerate(dict.fromkeys(p.donor for p in points if p.donor), start=1)}
    rows = []
    for point in points:
        fitted = float(curve.yields(point.dose))
        variance = point.cells * fitted * (1 - fitted if endpoint == "mnbn" else 1)
        spread = Distribution(point.counts) if point.counts and endpoint == "mn" else None
        rows.append(
            {
                "name": point.name,
                "dose": point.dose,
                "n": point.cells,
                "x": point.events,
                "yield": point.events / point.cells,
                "dispersion_index": spread.dispersion_index if spread else None,
                "u": spread.u() if spread else None,
                "residual": (point.events - point.cells * fitted) / variance**0.5 if variance > 0 else None,
                **({"donor": persons[point.donor]} if point.donor else {}),
            }
        )
    return rows


def summary_lines(curve: Curve) -> list[str]:
    """A curve in words, for a terminal."""
    names = COEFFICIENTS[: len(curve.coefficients)]
    errors = curve.standard_errors if curve.uncertainty != "none" else [None] * len(names)
    unit = "micronuclei a cell" if curve.endpoint == "mn" else "share of cells with a micronucleus"
    lines = [str(curve.about["name"])] if curve.about.get("name") else []
    lines += [f"model       {curve.shape}, endpoint {curve.endpoint} ({unit})"]
    for name, value, error in zip(names, curve.coefficients, errors, strict=True):
        lines.append(f"{name:<11} {value:.6g}" + (f" +- {error:.2g}" if error is not None else "  (no error given)"))
    span = f"{curve.dose_range[0]:g} to {curve.dose_range[1]:g} Gy" if curve.dose_range else "not stated"
    lines.append(f"range       {span}")
    scored = ", ".join(f"{key} {value}" for key, value in curve.scoring.items() if value not in (None, ""))
    lines.append(f"scoring     {scored or 'not stated'}")
    conditions = curve.about.get("irradiation")
    if isinstance(conditions, Mapping):
        lines.append(
            "irradiated  " + ", ".join(f"{key} {value}".replace("_", " ", 1) for key, value in conditions.items())
        )
    fitted = curve.about.get("fit")
    if isinstance(fitted, Mapping):
        lines += _fit_lines(fitted)
    if curve.about.get("source"):
        lines.append(f"source      {curve.about['source']}")
    return lines


def _fit_lines(fitted: Mapping[str, Any]) -> list[str]:
    """What a curve's file says of its fit; what it does not say is left out."""
    lines = []
    if fitted.get("model_choice"):
        lines.append(f"model       {fitted['model_choice']}")
    if fitted.get("family"):
        lines.append("family      " + ": ".join(str(fitted[k]) for k in ("family", "family_choice") if fitted.get(k)))
    known = [
        _statistic("chi2", fitted.get("pearson_chi2"), fitted.get("p_pearson"), fitted.get("df")),
        _statistic("deviance", fitted.get("deviance"), fitted.get("p_deviance"), None),
    ]
    if any(known):
        lines.append(f"fit         {', '.join(filter(None, known))}")
    p = fitted.get("p_pearson")
    if p is not None and p < 0.01:
        lines.append("            the points scatter more about the curve than counting explains")
    return lines


def _statistic(name: str, value: float | None, p: float | None, df: int | None) -> str:
    if value is None:
        return ""
    freedom = f" on {df} df" if df is not None else ""
    return f"{name} {value:.2f}{freedom}" + (f" (p = {p:.3g})" if p is not None else "")
