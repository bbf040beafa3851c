"""Crops, outlines and overviews cut from a field."""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.spatial import ConvexHull, QhullError
from skimage.measure import approximate_polygon, find_contours

from mnbatch.imaging.decoding import Decoded
from mnbatch.imaging.preparation import percentile_range

OVERVIEW_SIDE = 768
"""Pixels of the longer side of a field's small picture."""

_OVERVIEW_QUALITY = 78
_TOLERANCE = 0.7
_THINNED = 8


def cut_crop(
    pixels: Decoded, x: float, y: float, width: int, ground: Callable[[], Decoded] | None = None
) -> tuple[Decoded, bool]:
    """A square of `width` pixels round (x, y), and whether it lies wholly inside the field.

    What lies outside is filled with the field's median colour: its ground, unless nuclei cover half of it.

    Args:
        ground: gives that colour where many crops are cut from one field; asked only when it is needed.
    """
    left, top = math.floor(x - width / 2 + 0.5), math.floor(y - width / 2 + 0.5)
    height, across = pixels.shape[:2]
    x0, y0, x1, y1 = max(0, left), max(0, top), min(across, left + width), min(height, top + width)
    inside = pixels[y0:y1, x0:x1]
    if inside.shape[:2] == (width, width):
        return np.ascontiguousarray(inside), True
    filled = np.empty((width, width, *pixels.shape[2:]), pixels.dtype)
    filled[...] = median_colour(pixels) if ground is None else ground()
    filled[y0 - top : y1 - top, x0 - left : x1 - left] = inside
    return filled, False


def outline_of(mask: npt.NDArray[np.bool_], left: int, top: int) -> tuple[int, ...]:
    """Polygon round the true pixels of a small mask, as x and y in turn; of several parts their convex hull.

    Its points are corners of pixels: pixel 0 reaches from 0 to 1.

    Args:
        mask: (height, width), the cell's box.
        left, top: where the box lies.
    """
    contours = find_contours(np.pad(mask, 1).astype(np.float32), 0.5)
    if not contours:
        return ()
    if len(contours) == 1 or max(map(len, contours)) >= 0.9 * sum(map(len, contours)):
        points = approximate_polygon(max(contours, key=len), _TOLERANCE)[:-1]
    else:
        points = _hull(np.concatenate(contours))
    shifted = np.rint(points[:, ::-1] - 0.5).astype(int) + np.array([left, top])
    return tuple(shifted.ravel().tolist())


def overview_jpeg(pixels: Decoded) -> bytes:
    """Small picture of a field, its longer side at most 768 pixels."""
    step = max(1, max(pixels.shape[:2]) // (2 * OVERVIEW_SIDE))
    thin = pixels[::step, ::step]
    low, high = (0.0, 255.0) if thin.ndim == 3 and thin.dtype == np.uint8 else percentile_range(thin, 0.5, 99.8)
    scaled = (thin.astype(np.float32) - low) * (255 / max(high - low, 1e-9)) + 0.5
    image = Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8))
    longest = max(pixels.shape[:2])
    share = min(1.0, OVERVIEW_SIDE / longest)
    size = (max(1, round(pixels.shape[1] * share)), max(1, round(pixels.shape[0] * share)))
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=_OVERVIEW_QUALITY)
    return buffer.getvalue()


def median_colour(pixels: Decoded) -> Decoded:
    """Median of each channel over a thinned field: () or (3,)."""
    thin = pixels[::_THINNED, ::_THINNED]
    return np.asarray(np.median(thin.reshape(-1, *pixels.shape[2:]), axis=0)).astype(pixels.dtype)


def _hull(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    try:
        return np.asarray(points[ConvexHull(points).vertices])
    except QhullError:
        return points
