"""Background of a crop, and on which side of it the nuclei lie."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from mnbatch.assay.cells import UInt8Array

_STEP = 4
_SHARES = (0.005, 0.2, 0.8, 0.995)
"""Shares of the pixels, in order of brightness, at which a crop's levels are read."""


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """Background of a crop.

    Attributes:
        colour: (channels,), grey levels 0..255 of the background.
        level: their mean.
        low: level of the darkest pixels.
        high: level of the brightest pixels.
        dark: nuclei are brighter than the ground (fluorescence), not darker.
    """

    colour: npt.NDArray[np.float32]
    level: float
    low: float
    high: float
    dark: bool


def thinned(crop: UInt8Array) -> UInt8Array:
    """Every fourth pixel of every fourth row, ordered as (channels, pixels).

    Args:
        crop: (height, width) or (height, width, channels).
    """
    grid = crop[::_STEP, ::_STEP]
    return np.ascontiguousarray(grid.reshape(grid.shape[0] * grid.shape[1], -1).T)


def ground_of(grid: UInt8Array) -> Ground:
    """Estimate the background of a square crop.

    It is the median of the border, or, where cells touch the border, the darkest (brightest) fifth of the
    whole crop if that lies further out. Nuclei are on the side to which the values reach further from the
    border.

    Args:
        grid: (channels, pixels), a square crop as `thinned` gives it.
    """
    count = grid.shape[1]
    border = np.sort(grid[:, _border_indices(count)], axis=1, kind="stable")
    middle = border[:, border.shape[1] // 2].astype(np.float32)
    ordered = np.sort(grid, axis=1, kind="stable")  # radix sort: three times as fast for 8 bit
    low, dim, bright, high = (ordered[:, int(share * (count - 1))] for share in _SHARES)
    lowest, highest, level = float(low.mean()), float(high.mean()), float(middle.mean())
    dark = highest - level >= level - lowest
    colour = np.minimum(middle, dim) if dark else np.maximum(middle, bright)
    return Ground(colour, float(colour.mean()), lowest, highest, dark)


@lru_cache(maxsize=8)
def _border_indices(count: int) -> npt.NDArray[np.intp]:
    side = round(count**0.5)
    indices = np.arange(count).reshape(side, side)
    return np.concatenate([indices[0], indices[-1], indices[:, 0], indices[:, -1]])
