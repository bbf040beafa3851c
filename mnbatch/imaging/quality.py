"""What is measured of a crop before it is scored; the flags are made from it in `mnbatch.assay.calls`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from mnbatch.assay.cells import Quality, UInt8Array
from mnbatch.imaging.stain_recognition import Background, background_of, thinned

_REDUCTION = 2
"""Measured on blocks of 2 x 2 averaged: 112 x 112 of 224 x 224."""

_MAIN_SHARE = 0.3
"""A main nucleus has at least this share of the largest one's area; a micronucleus has at most a ninth."""

_LEAST_AREA = 0.006
"""Share of the crop below which nothing is a main nucleus: a disc of a twelfth of the crop's width."""

_LEAST_BITS = 8
_LEVELS = np.arange(256)

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A prepared crop at half size and what differs from its background.

    Attributes:
        grey: (size / 2, size / 2), nuclei bright.
        share: of the pixels above Otsu's threshold; contrast: their mean less the mean of the others.
        nuclei: the main nuclei among them.
    """

    grey: UInt8Array
    share: float
    contrast: float
    nuclei: Nuclei

    @property
    def nucleus_width(self) -> float:
        """Diameter of a disc as large as the largest main nucleus / width of the crop; 0 where there is none."""
        return self.nuclei.diameter / len(self.grey) if self.nuclei.area else 0.0


@dataclass(frozen=True, slots=True)
class FileScale:
    """How a prepared crop's levels relate to its file's values.

    Attributes:
        gain: 255 levels of the prepared crop as a share of the file's full range; the contrast rule stretches
            a weak stain, and this undoes it.
        at_top: share of the file's pixels that have the highest value there is (in the fullest channel).
        at_bottom: share of the file's pixels that have the value 0 (in the green channel).
    """

    gain: float
    at_top: float
    at_bottom: float


@dataclass(frozen=True, slots=True, eq=False)
class Nuclei:
    """Main nuclei of a crop, in pixels of half size.

    Attributes:
        whole: how many are wholly inside the crop; neighbours touch its border.
        area: of all of them, also of those at the border.
        diameter: of a disc as large as the largest.
        outline: their outermost pixels, without the outermost row and column of the crop.
    """

    whole: int
    area: int
    diameter: float
    outline: BoolArray


def file_scale(decoded: npt.NDArray[np.generic], limits: tuple[float, float]) -> FileScale:
    """Relate a crop to its file.

    The full range is 255 for 8-bit files. A camera's 12 bits in a 16-bit file do not say so; there it is the
    smallest power of two above the crop's highest value (at least 256). For floating point it is 1, or the
    highest value if that is above.

    Args:
        decoded: (height, width) or (height, width, 3), as decoded.
        limits: the values that became 0 and 255.
    """
    span = limits[1] - limits[0]
    if decoded.dtype.kind == "f":
        return FileScale(min(1.0, span / max(1.0, float(decoded.max()))), 0.0, 0.0)
    top = 255
    if decoded.dtype != np.uint8:
        top = (1 << max(_LEAST_BITS, int(decoded.max()).bit_length())) - 1
    pixels = decoded.shape[0] * decoded.shape[1]
    at_top, at_bottom = max(_counted(decoded == top)), _counted(decoded == 0)
    return FileScale(span / top, at_top / pixels, at_bottom[len(at_bottom) // 2] / pixels)


def _counted(values: BoolArray) -> list[int]:
    """How many are True in each channel of (height, width) or (height, width, channels)."""
    if values.ndim == 2 or not values.any():
        return [int(np.count_nonzero(values))] * (1 if values.ndim == 2 else values.shape[2])
    # Along the rows, in bytes: adding or counting along the last axis would go three values at a time.
    height, width, channels = values.shape
    rows = np.ascontiguousarray(values).view(np.uint8).reshape(height, width * channels)
    columns = sum(
        np.add.reduce(rows[first : first + 255], axis=0, dtype=np.uint8).astype(int) for first in range(0, height, 255)
    )
    return [int(count) for count in np.reshape(columns, (width, channels)).sum(axis=0)]


def measure(crop: UInt8Array) -> Quality:
    """Measure one prepared crop as if it were the file: (size, size, 3), uint8 RGB."""
    background = background_of(thinned(crop))
    return quality_of(find_nuclei(crop, background), background, file_scale(crop, (0.0, 255.0)))


def find_nuclei(crop: UInt8Array, background: Background) -> Measured:
    """Find the main nuclei of one prepared crop.

    Args:
        crop: uint8, (size, size) or (size, size, 3).
        background: its background.
    """
    grey = _signal(crop, background)
    threshold, share, contrast = _otsu(grey)
    return Measured(grey, share, contrast, _main_nuclei(grey > threshold))


def quality_of(found: Measured, background: Background, scale: FileScale) -> Quality:
    """What the quality flags are made from.

    Args:
        found: of the whole prepared crop, and `background` its background.
        scale: how it relates to its file.
    """
    nuclei, share, contrast = found.nuclei, found.share, found.contrast
    clipped = scale.at_top if background.dark else scale.at_bottom
    return Quality(
        sharpness=_sharpness(found.grey, nuclei, contrast),
        contrast=contrast * scale.gain / 255,
        saturated_fraction=min(1.0, clipped / share) if share else 0.0,
        nuclei=nuclei.whole,
        nucleus_fraction=nuclei.area / found.grey.size,
    )


def _signal(crop: UInt8Array, background: Background) -> UInt8Array:
    """Grey crop at half size in which nuclei are bright: the brightest channel, or the inverted green one."""
    if not background.dark:
        return 255 - _halved(crop if crop.ndim == 2 else crop[..., 1])
    if crop.ndim == 2:
        return _halved(crop)
    red, green, blue = (_halved(crop[..., channel]) for channel in range(3))
    return np.asarray(np.maximum(np.maximum(red, green), blue))


def _halved(plane: UInt8Array) -> UInt8Array:
    """Rounded means of blocks of 2 x 2, as Pillow's `reduce` gives them; it does the sides that are odd."""
    if plane.shape[0] % _REDUCTION or plane.shape[1] % _REDUCTION:
        return np.asarray(Image.fromarray(np.ascontiguousarray(plane)).reduce(_REDUCTION))
    rows = np.add(plane[::2], plane[1::2], dtype=np.uint16)
    total = rows[:, ::2] + rows[:, 1::2]
    total += 2
    total >>= 2
    return total.astype(np.uint8)


def _otsu(grey: UInt8Array) -> tuple[int, float, float]:
    """Threshold that separates two classes best (Otsu 1979), on 256 levels.

    Returns:
        The threshold, the share of pixels above it, and the mean above it less the mean of the others.
    """
    counts = np.array(Image.fromarray(grey).histogram(), dtype=np.float64)
    below = np.cumsum(counts)
    weighted = np.cumsum(counts * _LEVELS)
    product = below * (below[-1] - below)
    between = (weighted[-1] * below / below[-1] - weighted) ** 2 / np.maximum(product, 1)
    threshold = int(between.argmax())
    under, total = float(below[threshold]), float(below[-1])
    if not 0 < under < total:
        return threshold, 0.0, 0.0
    dark, all_light = float(weighted[threshold]), float(weighted[-1])
    return threshold, 1 - under / total, (all_light - dark) / (total - under) - dark / under


def _main_nuclei(mask: BoolArray) -> Nuclei:
    """Find the main nuclei in a mask.

    The mask is eroded by one pixel first: noise and debris vanish, nuclei that just touch come apart.
    """
    from scipy import ndimage

    core = mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    labels, _ = ndimage.label(core)
    inner = np.flatnonzero(core)
    numbers = labels.ravel()[inner]
    areas = np.bincount(numbers, minlength=1)
    largest = int(areas.max())
    main = areas >= max(_MAIN_SHARE * largest, _LEAST_AREA * mask.size)
    inside = main.copy()
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        inside[edge] = False
    nuclei = np.zeros(core.shape, np.bool_)
    nuclei.ravel()[inner] = main[numbers]
    grown = nuclei.copy()
    grown[1:] |= nuclei[:-1]
    grown[:-1] |= nuclei[1:]
    grown[:, 1:] |= nuclei[:, :-1]
    grown[:, :-1] |= nuclei[:, 1:]
    outline = grown & ~nuclei
    outline &= mask[1:-1, 1:-1]
    area = int(np.count_nonzero(nuclei)) + int(np.count_nonzero(outline))
    return Nuclei(int(inside.sum()), area, 2 * (largest / math.pi) ** 0.5 + 2, outline)


def _sharpness(grey: UInt8Array, nuclei: Nuclei, contrast: float) -> float:
    """90th percentile of the gradient along nuclear outlines, in contrasts per nuclear diameter; 0 without any.

    An edge that is blurred by a Gaussian of sigma s has d / (s sqrt(2 pi)), with d the diameter. The outline
    is where the signal is largest against noise; the variance of the Laplacian over the whole crop follows
    the noise of the background instead. Related to the diameter because the size of micronuclei is, too.
    """
    found = np.flatnonzero(nuclei.outline)
    if not len(found) or contrast <= 0:
        return 0.0
    side, values = grey.shape[1], grey.ravel()
    # Place of the pixel up and left of each, in `grey`, which has two columns more.
    corner = found + 2 * (found // nuclei.outline.shape[1])

    def along(first: int, last: int) -> npt.NDArray[np.int16]:
        change: npt.NDArray[np.int16] = np.subtract(values[corner + last], values[corner + first], dtype=np.int16)
        return change

    across, down = along(side, side + 2), along(1, 2 * side + 1)
    gradient = np.sort(np.hypot(across, down, dtype=np.float32))
    return float(gradient[int(0.9 * (len(gradient) - 1))]) / (2 * contrast) * nuclei.diameter
