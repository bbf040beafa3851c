"""From camera values to stain: 0 on the background, bright where there is stain, whatever the lamp and the stain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from mnbatch.assay.cells import KnownStain

FloatImage = npt.NDArray[np.float32]

_STEP = 4
"""Levels are read from every fourth pixel of every fourth row."""

_BACKGROUND_SHARE = 0.25
_BLOCKS = 10
_SMALLEST_BLOCK = 24
_NUCLEAR_RED = 0.4
"""Weight of the red channel's absorbance in the nuclear stain; the rest is green."""

_FULL = 0.995
"""Share of the type's full range from which a value counts as saturated."""


@dataclass(frozen=True, slots=True, eq=False)
class StainSignal:
    """A field as stain.

    Attributes:
        nuclear: (h, w) float32, the nuclear stain; about 0 on the background (fluorescence: camera counts above the
            background; Giemsa: absorbance).
        total: (h, w) float32, stain of any kind, for cell bodies; the same array in fluorescence.
        noise: standard deviation of `nuclear` from pixel to pixel on the background.
        background: the stain.
        saturated: share of the pixels at the end of the range where nuclei are.
    """

    nuclear: FloatImage
    total: FloatImage
    noise: float
    stain: KnownStain
    saturated: float


def recognise_field_stain(image: npt.NDArray[Any]) -> KnownStain:
    """Whether nuclei are bright on a dark background or dark on a light one: where values reach further.

    Args:
        image: (h, w) or (h, w, 3).
    """
    grid = image[::_STEP, ::_STEP].reshape(-1, 1 if image.ndim == 2 else image.shape[2]).astype(np.float32)
    low, middle, high = np.percentile(grid.mean(axis=1), (0.5, 50, 99.5))
    return "fluorescence" if high - middle >= middle - low else "giemsa"


def stain_signal(image: npt.NDArray[Any], stain: KnownStain) -> StainSignal:
    """Stain of a field with the illumination taken out.

    Args:
        image: (h, w) or (h, w, 3), any real type.
    """
    return _fluorescence(image) if stain == "fluorescence" else _giemsa(image)


def _fluorescence(image: npt.NDArray[Any]) -> StainSignal:
    plane = (image if image.ndim == 2 else image.max(axis=2)).astype(np.float32)
    saturated = _share_at_top(image)
    nuclear = plane - low_background(plane)
    # A camera's background may be one flat value; half a count is what rounding alone leaves unknown.
    least = 0.5 if image.dtype.kind in "ui" else 0.0
    return StainSignal(nuclear, nuclear, max(least, pixel_noise(nuclear)), "fluorescence", saturated)


def _giemsa(image: npt.NDArray[Any]) -> StainSignal:
    """Absorbance -log10(I / I0) of each channel (Beer-Lambert), I0 the light of the empty slide at that place.

    Nuclei hold the azure-eosin complex, which absorbs green most; red blood cells and eosin absorb blue; so the
    nuclear stain is read from green and red.
    """
    planes = image[..., None] if image.ndim == 2 else image
    saturated = float(np.mean(planes[::_STEP, ::_STEP].max(axis=2) == 0))
    absorbances = [_absorbance(planes[..., channel].astype(np.float32)) for channel in range(planes.shape[2])]
    if len(absorbances) == 1:
        return StainSignal(absorbances[0], absorbances[0], pixel_noise(absorbances[0]), "giemsa", saturated)
    red, green, blue = absorbances
    nuclear = np.asarray(_NUCLEAR_RED * red + (1 - _NUCLEAR_RED) * green, dtype=np.float32)
    total = np.asarray((red + green + blue) / 3, dtype=np.float32)
    return StainSignal(nuclear, total, pixel_noise(nuclear), "giemsa", saturated)


def _absorbance(plane: FloatImage) -> FloatImage:
    light = -low_background(-plane, zero=True)
    return np.asarray(np.log10((np.maximum(light, 1) + 1) / (plane + 1)), dtype=np.float32)


def low_background(plane: FloatImage, zero: bool = False) -> FloatImage:
    """The background under bright objects, smooth over the field: (h, w) float32.

    A low percentile of coarse blocks, opened so that blocks full of nuclei do not lift it, smoothed and enlarged.
    """
    del zero
    height, width = plane.shape
    block = max(_SMALLEST_BLOCK, -(-max(height, width) // _BLOCKS))
    rows, columns = -(-height // block), -(-width // block)
    grid = np.array(
        [
            [
                np.quantile(plane[y * block : (y + 1) * block : 2, x * block : (x + 1) * block : 2], _BACKGROUND_SHARE)
                for x in range(columns)
            ]
            for y in range(rows)
        ],
        dtype=np.float32,
    )
    opened = ndimage.grey_opening(grid, size=(3, 3), mode="nearest") if min(rows, columns) >= 3 else grid
    smooth = ndimage.gaussian_filter(np.minimum(grid, opened), 1, mode="nearest")
    full = Image.fromarray(smooth).resize((columns * block, rows * block), Image.Resampling.BILINEAR)
    return np.asarray(full, dtype=np.float32)[:height, :width]


def median(values: npt.NDArray[np.float32]) -> float:
    """`np.median` of a non-empty array without its look for NaN, which takes as long again."""
    middle = values.size // 2
    if values.size % 2:
        return float(np.partition(values, middle, axis=None)[middle])
    low, high = np.partition(values, (middle - 1, middle), axis=None)[middle - 1 : middle + 1]
    return float(np.mean(np.array([low, high])))


def pixel_noise(signal: FloatImage) -> float:
    """Standard deviation from pixel to pixel on the background: from differences of neighbours in the darker half."""
    rows = signal[::_STEP]
    left, right = rows[:, :-1], rows[:, 1:]
    dark = left <= np.median(rows[:, ::_STEP])
    steps = np.abs((right - left)[dark])
    return float(np.quantile(steps, 0.8)) / 1.2816 / 2**0.5 if steps.size else 0.0


def _share_at_top(image: npt.NDArray[Any]) -> float:
    grid = image[::_STEP, ::_STEP]
    top = np.iinfo(image.dtype).max if image.dtype.kind in "ui" else 1.0
    return float(np.mean(grid >= _FULL * top))
