"""What a dose must be read with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mnbatch.assay.curve import Curve
from mnbatch.assay.distribution import U_LIMIT

SATURATION_GY = 5.0
NOTABLE_SCATTER = 1.5


@dataclass(frozen=True, slots=True)
class Seen:
    """A case's numbers, as far as warnings depend on them; NaN and infinity as the method gave them."""

    estimate: float
    upper: float
    u: float | None
    above_range: bool
    below_background: bool


def warnings_of(seen: Seen, curve: Curve, differing: Sequence[str]) -> tuple[str, ...]:
    """Everything that a reader of this dose must know.

    Args:
        differing: what of the scoring differs between case and curve, which somebody allowed.
    """
    found = []
    if differing:
        found.append(f"scored otherwise than the curve, and allowed: {'; '.join(differing)}")
    if seen.below_background:
        found.append("significantly fewer events than the curve's background: does this curve belong to this scoring?")
    found += _dispersion_warnings(seen.u)
    found += _range_warnings(curve, seen)
    found += curve_warnings(curve)
    return tuple(found)


def _dispersion_warnings(u: float | None) -> list[str]:
    if u is None or abs(u) <= U_LIMIT:
        return []
    if u < 0:
        return [f"underdispersed (u = {u:.2f}): the cells are more alike than chance makes them"]
    return [f"overdispersed (u = {u:.2f}): possible partial-body exposure, for which no dose is given"]


def _range_warnings(curve: Curve, seen: Seen) -> list[str]:
    found = []
    if seen.above_range:
        found.append(
            f"> {curve.highest_dose:g} Gy, where the curve ends: the estimate of {seen.estimate:.2f} Gy is extrapolated"
        )
    if seen.estimate > SATURATION_GY and curve.endpoint == "mn":
        found.append("above about 5 Gy the yield of micronuclei flattens: the dose may be higher")
    if math.isinf(seen.upper):
        found.append("the curve is too uncertain to give the dose an upper limit")
    elif math.isnan(seen.upper):
        found.append("this method has no interval at a yield this far below the curve; the profile method has")
    return found


def curve_warnings(curve: Curve) -> list[str]:
    """What every dose from this curve must be read with."""
    found = []
    if curve.uncertainty == "standard errors":
        found.append(
            "the curve gives standard errors alone: its coefficients are taken as independent, which they are not"
        )
    elif curve.uncertainty == "none":
        found.append("the curve gives no uncertainty: the interval holds the counting error alone and is too narrow")
    if curve.slide_scatter > NOTABLE_SCATTER:
        found.append(
            f"slides of this scoring scatter {curve.slide_scatter:.1f} times as much as counting explains; the "
            "interval is widened by that, and one slide may still mislead: score more slides of this donor"
        )
    if curve.dose_range is None:
        found.append("the curve does not state its dose range: whether the dose is extrapolated is not known")
    if curve.about.get("example"):
        found.append("an example curve of another laboratory: not for use on its own")
    return found
