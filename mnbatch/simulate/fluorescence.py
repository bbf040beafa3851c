"""The fluorescence look: light emitted by the layers, on a dark ground."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from mnbatch.simulate.camera import illumination
from mnbatch.simulate.look_parts import CameraLook, FluorescenceStain
from mnbatch.simulate.painting import CYTOPLASM, DARK, GRANULE, NUCLEUS
from mnbatch.simulate.shapes import FloatArray
from mnbatch.simulate.texture import noise


def emit(
    layers: FloatArray,
    rng: np.random.Generator,
    stain: FluorescenceStain,
    camera: CameraLook,
    diameter: float,
) -> FloatArray:
    """Light from the specimen, (1, size, size), 1 = full range: layers, out-of-focus haze and background."""
    size = layers.shape[1]
    uneven = noise(rng, (size, size), size / 4)
    return shine(layers, uneven, illumination(size, camera), stain, diameter)


def shine(
    layers: FloatArray, uneven: FloatArray, lamp: FloatArray, stain: FluorescenceStain, diameter: float
) -> FloatArray:
    """Light from layers (LAYERS, h, w): (1, h, w), 1 = full range.

    Args:
        uneven: smooth noise of the background, (h, w), standard deviation about 1.
        lamp: illumination, (h, w), 1 in the middle of the camera's picture.
        diameter: of a main nucleus, px.
    """
    glow = layers[NUCLEUS] + stain.cytoplasm * layers[CYTOPLASM]
    glow = glow + stain.granule * layers[GRANULE] + stain.dark * np.maximum(layers[DARK], 0.0)
    if stain.haze > 0.02:
        glow = glow + stain.haze * _haze(layers[NUCLEUS], stain.haze_width * diameter)
    light = stain.exposure * glow + stain.background * (1.0 + 0.08 * uneven)
    return np.asarray((light * lamp)[None], dtype=np.float32)


def _haze(layer: FloatArray, width: float) -> FloatArray:
    """Wide blur, made on every fourth pixel."""
    height, width_px = layer.shape
    small = ndimage.gaussian_filter(layer[::4, ::4], max(0.5, width / 4), truncate=2.5)
    grown = np.repeat(np.repeat(small, 4, axis=0), 4, axis=1)[:height, :width_px]
    return np.asarray(ndimage.uniform_filter(grown, 5), dtype=np.float32)
