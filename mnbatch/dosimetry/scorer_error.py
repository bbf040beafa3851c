"""A curve made without a scorer's errors, as a scorer that errs sees it: nothing observed is altered."""

from __future__ import annotations

import re

import numpy as np

from mnbatch.assay.classifier_error import CountedRate
from mnbatch.dosimetry.calibration_curve import Curve
from mnbatch.errors import UsageError

# The counts stay as they are and the curve is carried onto the scorer's scale: a yield y becomes f + s y, with f false
# events a cell and s true events found. Their uncertainty enters the curve's covariance, so that every method and limit
# holds as it is. Solved for the dose it is the correction y = (y_obs - f) / s.


def curve_seen_by(curve: Curve, sensitivity: CountedRate, specificity: CountedRate) -> Curve:
    """The curve on the scale of a scorer with these errors.

    mn: a micronucleus is found with probability Se, and a cell gets a false one with probability 1 - Sp.
    mnbn: of cells with a micronucleus Se are called, of the others 1 - Sp: p' = 1 - Sp + (Se + Sp - 1) p.

    Raises:
        UsageError: rates that are no better than guessing.
    """
    se, sp = sensitivity.value, specificity.value
    of_cells = curve.endpoint == "mnbn"
    gain = se + sp - 1 if of_cells else se
    if gain <= 0 or se + sp <= 1:
        raise UsageError(f"Sensitivity {se:g} and specificity {sp:g} are no better than guessing.", "Check both.")
    var_se, var_sp = _variance(sensitivity), _variance(specificity)
    joint = [[var_se + var_sp, -var_sp], [-var_sp, var_sp]] if of_cells else [[var_se, 0.0], [0.0, var_sp]]
    return curve.as_scored(gain, 1 - sp, np.array(joint))


def counted_rate(option: str, text: str) -> CountedRate:
    """A rate as it is typed, "255/300".

    Raises:
        UsageError: it is not two counts, the first no larger than the second.
    """
    found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
    try:
        if found:
            return CountedRate(int(found[1]), int(found[2]))
    except ValueError:
        pass
    raise UsageError(f"{option} '{text}' is not a counted rate.", "Write right calls / cells, such as 255/300.")


def _variance(rate: CountedRate) -> float:
    """With one right and one wrong call added: 39 right calls of 39 leave doubt too."""
    adjusted = (rate.right + 1) / (rate.total + 2)
    return adjusted * (1 - adjusted) / (rate.total + 2)
