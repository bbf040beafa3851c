"""What is measured of a crop before it is scored; the flags are made from it in `mnbatch.assay.quality`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from mnbatch.assay.cells import Quality, UInt8Array
from mnbatch.imaging.ground import Ground, ground_of, thinned

_REDUCTION = 2
"""Measured on blocks of 2 x 2 averaged: 112 x 112 of 224 x 224."""

_MAIN_SHARE = 0.3
"""A main nucleus has at least this share of the largest one's area; micronuclei have at most a ninth."""

_DEEP_BITS = 8


@dataclass(frozen=True, slots=True)
class FileScale:
    """How a prepared crop's levels relate to its file's values.

    Attributes:
        gain: 255 levels of the prepared crop as a share of the file's full range; the contrast rule stretches a
            weak stain, and this undoes it.
        at_top: share of the file's pixels that have the highest value there is (in the fullest channel).
        at_bottom: share of the file's pixels that have the value 0 (in the green channel).
    """

    gain: float
    at_top: float
    at_bottom: float


def file_scale(decoded: npt.NDArray[np.generic], limits: tuple[float, float]) -> FileScale:
    """Relate a crop to its file.

    The full range is 255 for 8-bit files. A camera's 12 bits in a 16-bit file do not say so; there it is the smallest
    power of two above the crop's highest value (at least 256), and for floating point 1 or, above, the highest value.

    Args:
        decoded: (height, width) or (height, width, 3), as decoded.
        limits: the values that became 0 and 255.
    """
    span = limits[1] - limits[0]
    if decoded.dtype.kind == "f":
        return FileScale(min(1.0, span / max(1.0, float(decoded.max()))), 0.0, 0.0)
    top = 255
    if decoded.dtype != np.uint8:
        top = (1 << max(_DEEP_BITS, int(decoded.max()).bit_length())) - 1
    planes = [decoded] if decoded.ndim == 2 else [decoded[..., channel] for channel in range(3)]
    at_top = max(int(np.count_nonzero(plane == top)) for plane in planes)
    at_bottom = int(np.count_nonzero(planes[len(planes) // 2] == 0))
    return FileScale(span / top, at_top / planes[0].size, at_bottom / planes[0].size)


def measure(crop: UInt8Array) -> Quality:
    """Measure one prepared crop as if it were the file: (size, size, 3), uint8 RGB."""
    return measure_image(Image.fromarray(crop), ground_of(thinned(crop)), file_scale(crop, (0.0, 255.0)))


def measure_image(image: Image.Image, ground: Ground, scale: FileScale) -> Quality:
    """Measure one prepared crop.

    Args:
        image: the prepared crop, "L" or "RGB".
        ground: its background.
        scale: how it relates to its file.
    """
    grey = _signal(image, ground)
    mask = grey > _otsu(grey)
    inner = np.count_nonzero(mask)
    share = inner / mask.size
    total = float(grey.sum(dtype=np.float64))
    inside = float(grey.sum(where=mask, dtype=np.float64))
    contrast = inside / inner - (total - inside) / (mask.size - inner) if 0 < inner < mask.size else 0.0
    nuclei, area = _nuclei(mask)
    clipped = scale.at_top if ground.dark else scale.at_bottom
    return Quality(
        sharpness=_sharpness(grey, contrast),
        contrast=contrast * scale.gain / 255,
        saturated_fraction=min(1.0, clipped / share) if share else 0.0,
        nuclei=nuclei,
        nucleus_fraction=area / mask.size,
    )


def _signal(image: Image.Image, ground: Ground) -> UInt8Array:
    """Grey crop at half size in which nuclei are bright: the brightest channel, or the inverted green one."""
    small = np.asarray(image.reduce(_REDUCTION))
    if small.ndim == 2:
        return small if ground.dark else 255 - small
    if ground.dark:
        return np.maximum(np.maximum(small[..., 0], small[..., 1]), small[..., 2])
    return 255 - small[..., 1]


def _otsu(grey: UInt8Array) -> int:
    """Threshold that separates two classes best (Otsu 1979), on 256 levels."""
    counts = np.array(Image.fromarray(grey).histogram(), dtype=np.float64)
    below = np.cumsum(counts)
    weighted = np.cumsum(counts * np.arange(256))
    product = below * (below[-1] - below)
    between = (weighted[-1] * below / below[-1] - weighted) ** 2 / np.maximum(product, 1)
    return int(between.argmax())


def _nuclei(mask: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Number of main nuclei, and the area of all of them in pixels of the mask."""
    labels, count = ndimage.label(mask)
    if not count:
        return 0, 0
    areas = np.bincount(labels.ravel())[1:]
    main = areas >= _MAIN_SHARE * areas.max()
    return int(main.sum()), int(areas[main].sum())


def _sharpness(grey: UInt8Array, contrast: float) -> float:
    """Variance of the 4-neighbour Laplacian over squared contrast; 0 without contrast."""
    if contrast <= 0:
        return 0.0
    wide = grey.astype(np.int16)
    laplacian = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:] - 4 * wide[1:-1, 1:-1]
    return float(laplacian.var(dtype=np.float32)) / contrast**2
