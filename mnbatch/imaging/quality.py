"""What is measured of a crop before it is scored; the flags are made from it in `mnbatch.assay.quality`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from mnbatch.assay.cells import Quality, UInt8Array
from mnbatch.imaging.preparation import Ground, ground_of

_STEP = 2
"""Measured on every second pixel after averaging blocks of 2 x 2: 112 x 112 of 224 x 224."""

_MAIN_SHARE = 0.3
"""A main nucleus has at least this share of the largest one's area; micronuclei have at most a ninth."""


def measure(crop: UInt8Array, *, gain: float = 1.0, ground: Ground | None = None) -> Quality:
    """Measure one prepared crop.

    Args:
        crop: (size, size, 3), uint8 RGB.
        gain: what one grey level of the crop was in the file, as a share of 1/255 of the file's full range; the
            contrast rule stretches a weak stain, and this undoes it.
        ground: background of the crop where it is already known.
    """
    ground = ground or ground_of(crop[::4, ::4])
    grey = _signal(crop, ground)
    threshold = _otsu(grey)
    mask = grey > threshold
    inside = float(grey[mask].mean()) if mask.any() else 0.0
    outside = float(grey[~mask].mean()) if not mask.all() else 0.0
    contrast = max(inside - outside, 0.0)
    nuclei, area = _nuclei(mask)
    return Quality(
        sharpness=_sharpness(grey, contrast),
        contrast=contrast * gain / 255,
        saturated_fraction=float((grey[mask] >= 250).mean()) if mask.any() else 0.0,
        nuclei=nuclei,
        nucleus_fraction=area / mask.size,
    )


def _signal(crop: UInt8Array, ground: Ground) -> npt.NDArray[np.float32]:
    """Grey crop at half size in which nuclei are bright."""
    even = crop[: crop.shape[0] // 2 * 2, : crop.shape[1] // 2 * 2]
    small = np.asarray(Image.fromarray(even).reduce(_STEP))
    if ground.dark:
        return np.maximum(np.maximum(small[..., 0], small[..., 1]), small[..., 2]).astype(np.float32)
    return (255 - small[..., 1]).astype(np.float32)


def _otsu(grey: npt.NDArray[np.float32]) -> float:
    """Threshold that separates two classes best (Otsu 1979), on 256 levels."""
    counts = np.bincount(grey.astype(np.uint8).ravel(), minlength=256).astype(np.float64)
    below = np.cumsum(counts)
    weighted = np.cumsum(counts * np.arange(256))
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (weighted[-1] * below / below[-1] - weighted) ** 2 / (below * above)
    return float(np.nanargmax(between[:-1]))


def _nuclei(mask: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Number of main nuclei, and the area of all of them in pixels of the mask."""
    labels, count = ndimage.label(mask)
    if not count:
        return 0, 0
    areas = np.bincount(labels.ravel())[1:]
    main = areas >= _MAIN_SHARE * areas.max()
    return int(main.sum()), int(areas[main].sum())


def _sharpness(grey: npt.NDArray[np.float32], contrast: float) -> float:
    """Variance of the 4-neighbour Laplacian over squared contrast; 0 without contrast."""
    if contrast <= 0:
        return 0.0
    middle = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * middle
    return float(laplacian.var()) / contrast**2
