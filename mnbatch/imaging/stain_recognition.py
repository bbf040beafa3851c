"""Background, polarity and stain of crops, recognised from the pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from mnbatch.assay import stains
from mnbatch.assay.cells import Stain, UInt8Array

# Background of a crop, and on which side of it the nuclei are.


STEP = 4
SHARES = (0.005, 0.2, 0.8, 0.995)
"""Shares of the pixels, in order of brightness, at which a crop's levels are read."""


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """Background of a crop.

    Attributes:
        colour: (channels,), grey levels 0..255 of the background.
        level: their mean.
        low: level of the darkest pixels.
        high: level of the brightest pixels.
        dark: nuclei are brighter than the background (fluorescence), not darker.
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
    grid = crop[::STEP, ::STEP]
    return np.ascontiguousarray(grid.reshape(grid.shape[0] * grid.shape[1], -1).T)


def background_of(grid: UInt8Array) -> Background:
    """Estimate the background of a square crop.

    It is the median of the border, or, where cells touch the border, the darkest (brightest) fifth of the
    whole crop if that is further out. Nuclei are on the side to which the values reach further from the
    border.

    Args:
        grid: (channels, pixels), a square crop as `thinned` gives it.
    """
    count = grid.shape[1]
    border = np.sort(grid[:, border_indices(count)], axis=1, kind="stable")
    middle = border[:, border.shape[1] // 2].astype(np.float32)
    ordered = np.sort(grid, axis=1, kind="stable")  # radix sort: three times as fast for 8 bit
    low, dim, bright, high = (ordered[:, int(share * (count - 1))] for share in SHARES)
    lowest, highest, level = _mean(low), _mean(high), _mean(middle)
    dark = highest - level >= level - lowest
    colour = np.minimum(middle, dim) if dark else np.maximum(middle, bright)
    return Background(colour, _mean(colour), lowest, highest, dark)


def _mean(levels: npt.NDArray[np.uint8] | npt.NDArray[np.float32]) -> float:
    """`levels.mean()` of whole levels of one or three channels, without what a call of it costs; rounded as it does."""
    total, count = sum(levels.tolist()), len(levels)
    return float(np.float32(total) / np.float32(count)) if levels.dtype == np.float32 else total / count


@lru_cache(maxsize=8)
def border_indices(count: int) -> npt.NDArray[np.intp]:
    """Places of the border in a square of so many pixels, row by row; its corners twice."""
    side = round(count**0.5)
    indices = np.arange(count).reshape(side, side)
    return np.concatenate([indices[0], indices[-1], indices[:, 0], indices[:, -1]])


# One polarity for both stains: background 0, nuclei bright.


DENSITY_TOP = 230.0
"""Grey level that the densest hundredth of a crop gets in canonical polarity; leaves room above."""

DENSITY_PERCENTILE = 99.0
_LEVELS = np.arange(256, dtype=np.float32)

LOGARITHMS = np.log10(_LEVELS + 1)
"""Of each grey level."""


def density(crop: UInt8Array) -> UInt8Array:
    """Canonical polarity of one crop, (size, size, 3) uint8; see `preparation.network_input`."""
    grey = grey_of(crop)
    if grey is not None:
        background = background_of(thinned(grey))
        if background.dark:
            table = _scaled(_linear_table(float(background.colour.max())), thinned(grey))
            return np.broadcast_to(looked_up(grey, table[0])[..., None], crop.shape)
    grid = thinned(crop)
    background = background_of(grid)
    if background.dark:
        single = np.maximum(np.maximum(crop[..., 0], crop[..., 1]), crop[..., 2])
        table = _scaled(_linear_table(float(background.colour.max())), thinned(single))
        return np.broadcast_to(looked_up(single, table[0])[..., None], crop.shape)
    tables = _scaled(_optical_tables(background.colour), grid)
    result = np.empty(crop.shape, np.uint8)
    for channel in range(3):
        result[..., channel] = looked_up(crop[..., channel], tables[channel])
    return result


def grey_of(crop: UInt8Array) -> UInt8Array | None:
    """The one channel (height, width) of a crop whose channels are the same memory; None of any other.

    Nothing is computed: grey crops whose channels are equal, and not one, are as any other.
    """
    return crop[..., 0] if crop.ndim == 3 and crop.strides[-1] == 0 else None


def _linear_table(level: float) -> npt.NDArray[np.float32]:
    return np.asarray(np.maximum(_LEVELS - np.float32(level), 0)[None])


def _optical_tables(colour: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(np.maximum(np.log10(colour + 1)[:, None] - LOGARITHMS, 0))


def _scaled(tables: npt.NDArray[np.float32], grid: UInt8Array) -> UInt8Array:
    """Scale tables (channels, 256) so that a high percentile of the mean density on `grid` becomes 230."""
    place = int(DENSITY_PERCENTILE / 100 * (grid.shape[1] - 1))
    if len(tables) == 1 and bool((np.diff(tables[0]) >= 0).all()):
        # A table that never falls keeps the order of the levels, and bytes are sorted several times as fast.
        top = float(tables[0][np.sort(grid[0], kind="stable")[place]])
    else:
        density = np.zeros(grid.shape[1], np.float32)
        for table, channel in zip(tables, grid, strict=True):
            density += table[channel]
        density.sort()
        top = float(density[place]) / len(tables)
    scale = np.float32(DENSITY_TOP / top if top > 0 else 0.0)
    return np.asarray(np.clip(tables * scale + np.float32(0.5), 0, 255), dtype=np.uint8)


def looked_up(values: UInt8Array, table: UInt8Array) -> UInt8Array:
    """`table[values]`, faster: indexing would widen every value to 8 bytes first."""
    return np.frombuffer(values.tobytes().translate(table.tobytes()), np.uint8).reshape(values.shape)


# Stain and polarity of crops and slides, recognised from the pixels.


_DARKEST_LIGHT_BACKGROUND = 130.0
_BRIGHTEST_DARK_BACKGROUND = 110.0
_LEAST_SPAN = 12.0
"""Nuclei and background must differ by this many of 255 levels."""


def recognise_stain(crop: UInt8Array) -> Stain:
    """Stain of one prepared crop: bright nuclei on dark background, dark nuclei on light background, or unknown.

    Args:
        crop: (size, size, 3), uint8 RGB.
    """
    return stain_of_background(background_of(thinned(crop)))


def stain_of_background(background: Background) -> Stain:
    """Stain of a crop with this background."""
    if (
        background.dark
        and background.level <= _BRIGHTEST_DARK_BACKGROUND
        and background.high - background.level >= _LEAST_SPAN
    ):
        return "fluorescence"
    if (
        not background.dark
        and background.level >= _DARKEST_LIGHT_BACKGROUND
        and background.level - background.low >= _LEAST_SPAN
    ):
        return "giemsa"
    return "unknown"


def slide_stain(seen: Sequence[Stain]) -> Stain:
    """Stain of a slide from the stains that its readable cells show (see `mnbatch.assay.stains`)."""
    return stains.slide_stain(Counter(seen))
