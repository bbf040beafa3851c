"""Micrometres a pixel, by OME-XML, ImageJ's description or TIFF's own resolution; and whether pixels are square."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import tifffile

from mnbatch.assay.reasons import say

LEAST_UM, MOST_UM = 0.02, 5.0
"""Micrometres a pixel. A light microscope's fields lie between; anything else is a wrong unit or a default."""

_SQUARE = 0.02
"""Share by which the two sides of a pixel may differ: more, and round micronuclei are not round."""

_UNITS = {
    **dict.fromkeys(("µm", "um", "micron", "microns", "micrometer", "micrometre", "micrometers", "micrometres"), 1.0),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-3),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1e3),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 1e4),
    **dict.fromkeys(("m", "meter", "metre"), 1e6),
    **dict.fromkeys(("å", "angstrom"), 1e-4),
    **dict.fromkeys(("inch", "inches", "in", '"'), 25_400.0),
}


@dataclass(frozen=True, slots=True)
class PixelSize:
    """What a file says.

    Attributes:
        um: width of a pixel, micrometres; None where nothing is said.
        problem: why it cannot be used; "" for nothing.
    """

    um: float | None = None
    problem: str = ""


def plausible(um_per_pixel: float) -> bool:
    """Whether a pixel size can be one of a light microscope."""
    return LEAST_UM <= um_per_pixel <= MOST_UM


def pixel_size(tiff: tifffile.TiffFile) -> PixelSize:
    """Pixel size of a TIFF, and a problem where its pixels are no squares.

    A resolution in pixels an inch is a printer's unless it is plausible for a microscope. A size that OME or ImageJ
    state is given back even when it is absurd, so that it can be said.
    """
    across, down = _sides(tiff)
    return PixelSize(across, square_problem(across, down))


def square_problem(across: float | None, down: float | None) -> str:
    """What is wrong with pixels of this width and height, micrometres; "" where they are squares or not known."""
    if across is None or down is None or not plausible(across) or not plausible(down):
        return ""
    if abs(across / down - 1) <= _SQUARE:
        return ""
    return say("not-square", across=f"{across:.4g}", down=f"{down:.4g}")


def _sides(tiff: tifffile.TiffFile) -> tuple[float | None, float | None]:
    """Width and height of a pixel, micrometres."""
    if tiff.is_ome and tiff.ome_metadata:
        return _ome_size(tiff.ome_metadata, "X"), _ome_size(tiff.ome_metadata, "Y")
    tags = tiff.pages.first.tags
    resolutions = [tags.valueof(name) for name in ("XResolution", "YResolution")]
    across, down = (r[0] / r[1] if r and r[0] and r[1] else None for r in resolutions)
    known: dict[str, Any] = tiff.imagej_metadata or {}
    units = [unit_um(str(known.get(name) or known.get("unit", ""))) for name in ("unit", "yunit")]
    if units[0] is not None:
        return _over(units[0], across), _over(units[1], down)
    length = {2: 25_400.0, 3: 10_000.0}.get(int(tags.valueof("ResolutionUnit") or 0))
    sizes = [_over(length, per_unit) for per_unit in (across, down)]
    return (sizes[0], sizes[1]) if sizes[0] is not None and plausible(sizes[0]) else (None, None)


def _over(unit: float | None, per_unit: float | None) -> float | None:
    return None if unit is None or per_unit is None else float(unit / per_unit)


def unit_um(text: str) -> float | None:
    """Micrometres in a unit of length as programs spell it; None for anything else."""
    spelled = text.replace("\\u00B5", "µ").replace("\\u00b5", "µ").replace("μ", "µ").replace("&#181;", "µ")
    return _UNITS.get(spelled.strip().casefold().replace("μ", "µ"))


def _ome_size(text: str, side: str) -> float | None:
    size = re.search(rf'<Pixels\b[^>]*?\bPhysicalSize{side}="([^"]+)"', text)
    if size is None:
        return None
    unit = re.search(rf'<Pixels\b[^>]*?\bPhysicalSize{side}Unit="([^"]+)"', text)
    factor = unit_um(unit[1] if unit else "µm")
    try:
        return None if factor is None else float(size[1]) * factor
    except ValueError:
        return None
