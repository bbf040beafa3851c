"""Whole cells: the cytoplasm round the nuclei, where the stain shows any."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.segmentation import watershed

from mnbatch.imaging.segmentation.found import Labels
from mnbatch.imaging.segmentation.regions import without_holes, without_small
from mnbatch.imaging.segmentation.signal import FloatImage, StainSignal

BoolArray = npt.NDArray[np.bool_]

_RING = (0.06, 0.18)
"""Cytoplasm is looked for at this distance from nuclei, in nucleus diameters."""
_FAR = 0.8
_REACH = 1.2
"""Cytoplasm ends at this distance from the cell's nuclei, in nucleus diameters."""
_CLEAR = 4.0
_HALF = 0.5


def body_mask(signal: StainSignal, nuclear: BoolArray, diameter: float) -> BoolArray | None:
    """Where there is cytoplasm or nucleus, or None where no cytoplasm stands out of the ground.

    The cytoplasm's level is the median of a ring round the nuclei; half of it, seen from the ground, is its edge.

    Args:
        nuclear: (h, w), nuclei and small bodies.
        diameter: of a nucleus, px.
    """
    smooth = ndimage.gaussian_filter(signal.total, max(0.7, 0.03 * diameter), truncate=3)
    away = ndimage.distance_transform_edt(~nuclear)
    ring = smooth[(away > _RING[0] * diameter) & (away <= _RING[1] * diameter)]
    far = smooth[away > _FAR * diameter]
    if not ring.size or not far.size:
        return None
    level, spread = float(np.median(far)), 1.4826 * float(np.median(np.abs(far - np.median(far))))
    step = float(np.median(ring)) - level
    if step < _CLEAR * max(spread, 1e-6):
        return None
    mask = (smooth > level + _HALF * step) & (away <= _REACH * diameter) | nuclear
    return without_holes(without_small(mask, 0.2 * diameter**2), 0.3 * diameter**2)


def divided(mask: BoolArray, markers: Labels) -> Labels:
    """Divide a mask of bodies among markers; parts without a marker are left out."""
    distance = ndimage.distance_transform_edt(mask)
    return np.asarray(watershed(-distance, markers, mask=mask), dtype=np.int32)


__all__ = ["FloatImage", "body_mask", "divided"]
