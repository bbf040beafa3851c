"""Protracted exposure: lesions repaired during a long exposure no longer act in pairs, so G lowers the D^2 term."""

from __future__ import annotations

import math

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
