"""Where the stage stood when a field was taken, as the metadata of its TIFF state it.

Stated by OME-XML (PositionX, PositionY of an image's first plane), by Micro-Manager (XPositionUm, YPositionUm of a
page, or in ImageJ's Info), and by TIFF's own tags XPosition and YPosition. In micrometres; what is no length is not
used.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import tifffile

from mnbatch.imaging.fields.pixel_sizes import unit_um

Place = tuple[float, float]
"""x and y of the stage, micrometres; which way they go in the picture is not known."""

_FARTHEST = 1e6
"""Micrometres; a stage goes no further than a metre."""

_INFO = re.compile(r'"?([XY])PositionUm"?\s*[:=]\s*"?(-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)')
_MM_TAG, _X_TAG, _Y_TAG, _UNIT_TAG = 51123, 286, 287, 296
_TIFF_UNITS = {2: 25_400.0, 3: 10_000.0}


def tiff_places(tiff: tifffile.TiffFile, pages: Sequence[tifffile.TiffPage | None]) -> list[Place | None]:
    """The place of each field of a file; None where nothing is stated.

    Args:
        pages: first page of each field; None for one that is not in the file.
    """
    if tiff.is_ome and tiff.ome_metadata:
        found = ome_places(tiff.ome_metadata)
        return found if len(found) == len(pages) else [None] * len(pages)
    noted = [None if page is None else _of_page(page) for page in pages]
    if len(pages) == 1 and noted[0] is None:
        known: dict[str, Any] = (tiff.imagej_metadata or {}) if tiff.is_imagej else {}
        return [_of_numbers(dict(reversed(_INFO.findall(str(known.get("Info", ""))))))]
    return noted


def ome_places(text: str) -> list[Place | None]:
    """Of each image of an OME-XML the place of its first plane."""
    images = re.split(r"<(?:\w+:)?Image\b", text)[1:]
    planes = (re.search(r"<(?:\w+:)?Plane\b[^>]*>", image) for image in images)
    return [None if plane is None else _of_plane(plane[0]) for plane in planes]


def _of_plane(plane: str) -> Place | None:
    sides = {}
    for side in "XY":
        value = re.search(rf'\bPosition{side}="([^"]*)"', plane)
        unit = re.search(rf'\bPosition{side}Unit="([^"]*)"', plane)
        factor = unit_um(unit[1] if unit else "µm")
        if value is None or factor is None:
            return None
        sides[side] = (value[1], factor)
    return _place(*(_number(text) * factor for text, factor in sides.values()))


def _of_page(page: tifffile.TiffPage) -> Place | None:
    noted = page.tags.valueof(_MM_TAG)
    if isinstance(noted, dict):
        return _of_numbers({side: noted.get(f"{side}PositionUm") for side in "XY"})
    factor = _TIFF_UNITS.get(int(page.tags.valueof(_UNIT_TAG) or 0))
    across, down = page.tags.valueof(_X_TAG), page.tags.valueof(_Y_TAG)
    if factor is None or across is None or down is None or not across[1] or not down[1]:
        return None
    return _place(across[0] / across[1] * factor, down[0] / down[1] * factor)


def _of_numbers(known: dict[str, Any]) -> Place | None:
    return _place(_number(known["X"]), _number(known["Y"])) if {"X", "Y"} <= known.keys() else None


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _place(x: float, y: float) -> Place | None:
    return (x, y) if abs(x) <= _FARTHEST and abs(y) <= _FARTHEST else None
