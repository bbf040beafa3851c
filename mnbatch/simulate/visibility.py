"""Whether a drawn micronucleus can be seen in the picture: only what can be seen is counted as truth."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from mnbatch.simulate.giemsa import luminance
from mnbatch.simulate.plan import CellPlan
from mnbatch.simulate.shapes import BoolArray, FloatArray, Outline

MIN_CONTRAST = 0.15
"""A micronucleus counts only if it differs from its surroundings by this share of the nuclei's contrast."""

_MIN_GREY_STEP = 0.02
_RING = 3


def contrasts_of(exposed: FloatArray, places: tuple[Outline, ...], plan: CellPlan) -> list[float]:
    """Step from each micronucleus to the ring around it / step from the nuclei to the cytoplasm, signed.

    A step of fewer than _MIN_GREY_STEP of the full range counts as none.

    Args:
        exposed: the picture before compression and resampling, (channels, size, size), 0..1.
    """
    if not places:
        return []
    grey = luminance(exposed) if exposed.shape[0] == 3 else exposed[0]
    nuclei = _union(grey.shape[0], (*plan.nuclei, *plan.buds))
    bodies = _union(grey.shape[0], places)
    cytoplasm = plan.cell.mask(grey.shape[0]) & ~nuclei & ~bodies
    ground = float(np.median(grey[cytoplasm])) if cytoplasm.any() else float(np.median(grey))
    own = float(grey[nuclei].mean()) - ground
    steps = [_step(grey, place, nuclei, bodies, ground) * float(np.sign(own)) for place in places]
    return [step / abs(own) if own and step >= _MIN_GREY_STEP else 0.0 for step in steps]


def _step(grey: FloatArray, place: Outline, nuclei: BoolArray, bodies: BoolArray, ground: float) -> float:
    """Mean of the body, off the nuclei, minus mean of the ring around it."""
    size, reach = grey.shape[0], place.reach + _RING + 3
    rows = slice(max(0, int(place.y - reach)), min(size, int(place.y + reach) + 1))
    columns = slice(max(0, int(place.x - reach)), min(size, int(place.x + reach) + 1))
    window, others = grey[rows, columns], nuclei[rows, columns]
    body = place.mask(size)[rows, columns]
    seen = body & ~others
    taken = ndimage.binary_dilation(others | bodies[rows, columns], iterations=1)
    ring = ndimage.binary_dilation(body, iterations=_RING) & ~taken
    around = float(window[ring].mean()) if ring.sum() > 4 else ground
    return float(window[seen].mean()) - around if seen.any() else 0.0


def _union(size: int, outlines: tuple[Outline, ...]) -> BoolArray:
    out = np.zeros((size, size), dtype=bool)
    for outline in outlines:
        out |= outline.mask(size)
    return out
