"""Maps of 13 x 13 positions as tiny PNGs that a page stretches over exactly the right part of the crop.

Position i is centred at pixel 15 + 16 i of the 224-pixel input, so 13 positions of 16 pixels cover the box
[7, 215): drawn there, each value lies at the centre of its receptive field. The browser interpolates
between positions.
"""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from mnbatch.assay.maps import spread

INPUT_SIZE = 224
BOX_START = 7
BOX_SIZE = 208
"""The maps' place on the crop, pixels of the network's input."""

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]

FOR_MN = ((255, 196, 61), (230, 57, 24))
AGAINST_MN = ((120, 180, 255), (28, 86, 200))
ATTENTION = ((94, 234, 212), (13, 148, 136))
"""Colours at no and at full magnitude; opacity grows with magnitude too."""

MAX_OPACITY = 0.66

ZOOM = 4
LEVELS = 65
"""Colours of a map; odd, so that no evidence is exactly clear."""


def evidence_limit(grids: list[FloatArray]) -> float:
    """Full colour of one page, logits a position: near the cells' highest peaks, two significant digits.

    One scale for a page, so that its cells can be compared with each other.
    """
    return limit_of_peaks(np.array([float(np.abs(spread(grid)).max()) for grid in grids]))


def limit_of_peaks(peaks: npt.NDArray[np.floating]) -> float:
    """As `evidence_limit`, from the largest absolute value of each cell's spread map."""
    # One outlier does not pale the others, and the one MN among a few cells is no mere outlier.
    limit = max(float(np.percentile(peaks, 95)), float(peaks.max()) / 2) if len(peaks) else 1.0
    return float(f"{limit:.2g}") or 1.0


def evidence_png(grid: FloatArray, limit: float) -> str:
    """Evidence (13, 13), logits, as a data URI: amber to red for MN, blue against, clear at 0."""
    return _png(spread(grid) / limit, evidence_colours(np.linspace(-1, 1, LEVELS)), -1.0)


def attention_png(grid: FloatArray) -> str:
    """Attention (13, 13) in 0..1 as a data URI: clear at 0, deep teal at 1."""
    return _png(grid.astype(np.float64), attention_colours(np.linspace(0, 1, LEVELS)), 0.0)


def evidence_colours(values: npt.NDArray[np.float64]) -> ByteArray:
    """RGBA of evidence relative to the page's limit; beyond -1..1 the colour stays."""
    colours: ByteArray = np.where((values > 0)[..., None], _blend(values, FOR_MN), _blend(-values, AGAINST_MN))
    return colours


def attention_colours(values: npt.NDArray[np.float64]) -> ByteArray:
    """RGBA of attention, 0..1."""
    return _blend(values, ATTENTION)


def jpeg_uri(data: bytes) -> str:
    """A crop as stored, as a data URI."""
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")


def _blend(magnitude: npt.NDArray[np.float64], colours: tuple[tuple[int, ...], ...]) -> ByteArray:
    weight = np.clip(magnitude, 0.0, 1.0)[..., None]
    low, high = (np.array(colour, dtype=float) for colour in colours)
    rgb = low + (high - low) * weight
    alpha = 255 * MAX_OPACITY * weight**1.2
    rgba: ByteArray = np.rint(np.concatenate([rgb, alpha], axis=-1)).astype(np.uint8)
    return rgba


def enlarged(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Each position as `ZOOM` x `ZOOM` points, bilinear between the positions' centres, flat beyond the
    outer ones.

    The grid still fills the same box. Browsers smooth an enlarged image on the screen, but not all do in
    print.
    """
    size = len(values)
    centres = np.clip((np.arange(size * ZOOM) + 0.5) / ZOOM - 0.5, 0, size - 1)
    low = np.minimum(centres.astype(int), size - 2)
    share = centres - low
    rows = values[low] * (1 - share)[:, None] + values[low + 1] * share[:, None]
    enlarged_: npt.NDArray[np.float64] = rows[:, low] * (1 - share) + rows[:, low + 1] * share
    return enlarged_


def _png(values: npt.NDArray[np.float64], colours: ByteArray, lowest: float) -> str:
    """`values` between `lowest` and 1 as a palette image of `colours` (LEVELS, 4)."""
    relative = (np.clip(enlarged(values), lowest, 1.0) - lowest) / (1.0 - lowest)
    image = Image.fromarray(np.rint(relative * (LEVELS - 1)).astype(np.uint8), mode="P")
    image.putpalette(colours[:, :3].tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", transparency=colours[:, 3].tobytes(), optimize=False, compress_level=9)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
