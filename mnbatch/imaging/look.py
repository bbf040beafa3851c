"""Stain and polarity of crops and slides, recognised from the pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mnbatch.assay import stains
from mnbatch.assay.cells import Look, UInt8Array
from mnbatch.imaging.ground import Ground, ground_of, thinned

_DARKEST_LIGHT_GROUND = 130.0
_BRIGHTEST_DARK_GROUND = 110.0
_LEAST_SPAN = 12.0
"""Nuclei and background must differ by this many of 255 levels."""


def recognise_look(crop: UInt8Array) -> Look:
    """Look of one prepared crop: bright nuclei on dark ground, dark nuclei on light ground, or unknown.

    Args:
        crop: (size, size, 3), uint8 RGB.
    """
    return look_of_ground(ground_of(thinned(crop)))


def look_of_ground(ground: Ground) -> Look:
    """Look of a crop with this background."""
    if ground.dark and ground.level <= _BRIGHTEST_DARK_GROUND and ground.high - ground.level >= _LEAST_SPAN:
        return "fluorescence"
    if not ground.dark and ground.level >= _DARKEST_LIGHT_GROUND and ground.level - ground.low >= _LEAST_SPAN:
        return "giemsa"
    return "unknown"


def slide_look(looks: Sequence[Look]) -> Look:
    """Look of a slide from the looks of its readable cells (see `mnbatch.assay.stains`)."""
    return stains.slide_look(Counter(looks))
