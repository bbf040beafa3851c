"""Random textures: smooth noise at stated scales, chromatin, cytoplasm."""

from __future__ import annotations

import numpy as np
from PIL import Image

from mnbatch.simulate.shapes import FloatArray

# A bicubic stretch of white noise has a standard deviation of about 0.78; this brings it back to 1.
_STRETCH_GAIN = 1.28


def noise(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> FloatArray:
    """Smooth Gaussian noise, mean 0, standard deviation about 1, with bumps about `scale` px apart."""
    height, width = shape
    if scale <= 1.05:
        return rng.standard_normal((height, width), dtype=np.float32)
    rows, columns = int(height / scale) + 4, int(width / scale) + 4
    grid = rng.standard_normal((rows, columns), dtype=np.float32)
    x, y = 1 + rng.random(), 1 + rng.random()
    box = (x, y, x + width / scale, y + height / scale)
    stretched = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC, box=box)
    return np.asarray(np.asarray(stretched) * _STRETCH_GAIN, dtype=np.float32)


def chromatin(rng: np.random.Generator, shape: tuple[int, int], scale: float, reticulated: float) -> FloatArray:
    """Chromatin density around 0, standard deviation about 1, bounded.

    Args:
        scale: distance of the coarse clumps, px.
        reticulated: 0 for cloudy clumps, 1 for a net of strands (ridges where smooth noise crosses zero).
    """
    coarse = noise(rng, shape, scale)
    middle = noise(rng, shape, max(1.0, scale / 2.1))
    fine = noise(rng, shape, max(1.0, scale / 4.5))
    cloudy = 0.62 * coarse + 0.55 * middle + 0.35 * fine
    if reticulated > 0:
        strands = 1.7 * (0.62 - np.abs(middle)) + 0.45 * coarse + 0.3 * fine
        cloudy = (1 - reticulated) * cloudy + reticulated * strands
    return np.asarray((1.35 * np.tanh(0.8 * cloudy)), dtype=np.float32)


def speckle(rng: np.random.Generator, shape: tuple[int, int], scale: float, share: float) -> FloatArray:
    """Granules, 0..1: peaks of smooth noise above the quantile that leaves about `share` of the area."""
    field = noise(rng, shape, scale)
    # Normal quantile for the small shares used here, within 3 % (Abramowitz and Stegun 26.2.22).
    t = np.sqrt(-2.0 * np.log(min(max(share, 1e-4), 0.5)))
    level = t - (2.30753 + 0.27061 * t) / (1 + 0.99229 * t + 0.04481 * t * t)
    return np.asarray(np.clip((field - level) * 2.5, 0.0, 1.0), dtype=np.float32)
