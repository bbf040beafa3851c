"""Stain and polarity of crops and slides, recognised from the pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mnbatch.assay.cells import LOOKS, Look, UInt8Array
from mnbatch.imaging.ground import Ground, ground_of, thinned

_DARKEST_LIGHT_GROUND = 130.0
_BRIGHTEST_DARK_GROUND = 110.0
_LEAST_SPAN = 12.0
"""Nuclei and background must differ by this many of 255 levels."""

_CLEAR_MAJORITY = 0.7


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
    """Look of a slide: what at least 7 of 10 of its readable cells look like, else "unknown"."""
    if not looks:
        return "unknown"
    counts = Counter(looks)
    look, count = max(((look, counts[look]) for look in LOOKS), key=lambda item: item[1])
    return look if count >= _CLEAR_MAJORITY * len(looks) else "unknown"
