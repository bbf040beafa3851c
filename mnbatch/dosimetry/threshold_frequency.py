"""The frequency that a donor of a stated dose may have, for verdicts of a review: the curve's error and slides held."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import expit, logit, ndtri, stdtrit

from mnbatch.assay.count_kinds import kind_of
from mnbatch.assay.sequential_verdict import Threshold
from mnbatch.dosimetry.calibration_curve import Curve, problems
from mnbatch.errors import UsageError

_OTHER = "Or state a frequency in place of a dose, as --decide 40/1000."


def threshold_of_dose(curve: Curve, dose: float, error: float) -> Threshold:
    """Limits of the share of cells with a micronucleus of donors at a dose, each failing with at most `error`.

    Normal in logit (Student's t where the scatter of the slides was estimated with few degrees of freedom), with the
    variance of the curve at the dose and that between slides: its upper 80 % limit, as for doses. The slides of one
    donor are not taken as independent.

    Raises:
        UsageError: the curve counts micronuclei, or is of automatic counts, gives no dose, or ends below this one.
    """
    _refuse_unfit(curve, dose)
    mean = float(curve.yields(dose))
    if not 0 < mean < 1:
        raise UsageError(f"At {dose:g} Gy the curve has {mean:.3g} cells with micronuclei a cell.", _OTHER)
    between = max(0.0, curve.scatter_of(2) - 1) * mean * (1 - mean)
    spread = math.sqrt(float(curve.errors(dose)) ** 2 + between) / (mean * (1 - mean))
    df = curve.scatter_df
    quantile = float(stdtrit(df, 1 - error)) if df is not None and between > 0 else float(ndtri(1 - error))
    low, high = (float(expit(logit(mean) + sign * quantile * spread)) for sign in (-1, 1))
    return Threshold(low=low, high=high, error=error if np.any(curve.covariance) or between else 0.0)


def _refuse_unfit(curve: Curve, dose: float) -> None:
    if curve.endpoint != "mnbn":
        raise UsageError("The curve counts micronuclei a cell; a review decides on cells (endpoint mnbn).", _OTHER)
    if kind_of(curve.scoring) == "automatic":
        raise UsageError(
            "The curve is of automatic counts: it does not say which frequency a person sees at a dose.",
            f"Fit a curve of reviewed or confirmed counts. {_OTHER}",
        )
    faults = problems(curve)
    if faults:
        raise UsageError(f"The curve gives no dose: {'; '.join(faults)}.", _OTHER)
    if curve.highest_dose is not None and not 0 < dose <= curve.highest_dose:
        raise UsageError(f"{dose:g} Gy is not within the curve, which ends at {curve.highest_dose:g} Gy.", _OTHER)
