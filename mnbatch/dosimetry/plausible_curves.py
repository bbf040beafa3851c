"""Curves that no blood gives: doses in another unit than Gy, yields of another number of cells than one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnbatch.dosimetry.calibration_curve import Curve

HIGHEST_DOSE = 30.0
"""Gy; published curves of micronuclei end below 20."""
_HIGHEST_BACKGROUND = 0.3
"""Events a cell at 0 Gy; published ones are 0.002 to 0.05."""
_HIGHEST_YIELD = {"mn": 10.0, "mnbn": 1.0}
_SMALLEST_RISE = 0.002
"""Events a cell and Gy, over the whole range; published curves rise ten times as steeply."""


_UNITS = {
    "dose_unit": ("gy", "gray"),
    "dose_units": ("gy", "gray"),
    "yield_unit": ("per cell", "a cell", "1", "events a cell", "mn/cell", "mn per cell"),
    "per_cells": ("1",),
    "unit": ("gy", "gray", "per cell"),
    "units": ("gy", "gray", "per cell"),
}
"""Keys under which a curve's file may state its units, and what may stand there."""


def refuse_other_units(stated: Mapping[str, Any]) -> None:
    """Raise a ValueError for a curve's file that says it is in another unit than Gy and events a cell.

    Args:
        stated: what the file says beyond its schema.
    """
    for key, value in stated.items():
        known = _UNITS.get(key.casefold())
        if known and str(value).strip().casefold() not in known:
            raise ValueError(f"{key} is {str(value)[:40]}: give coefficients in events a cell and Gy, and say so there")


def implausible(curve: Curve) -> list[str]:
    """What of a curve suggests another unit than Gy and events a cell."""
    top = curve.highest_dose
    found = []
    if top is not None and top > HIGHEST_DOSE:
        found.append(f"its doses go up to {top:g} Gy, which no curve of micronuclei does: are they cGy or mGy?")
    if curve.background > _HIGHEST_BACKGROUND:
        found.append(f"its background is {curve.background:g} events a cell: are its yields per 100 or per 1000 cells?")
    highest = float(curve.yields(top if top is not None else 1.0))
    if highest > _HIGHEST_YIELD[curve.endpoint] * (1 + 1e-9):
        found.append(f"it reaches {highest:.3g} events a cell: are its yields per 100 or per 1000 cells?")
    rise = (highest - curve.background) / (top or 1.0)
    if 0 < rise < _SMALLEST_RISE:
        found.append(f"it rises by only {rise:.2g} events a cell and Gy: are its coefficients per cGy or mGy?")
    return [f"implausible: {text}" for text in found]
