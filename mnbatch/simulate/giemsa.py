"""The Giemsa look: light absorbed by stained layers (Beer-Lambert)."""

from __future__ import annotations

import numpy as np

from mnbatch.simulate.camera import illumination
from mnbatch.simulate.look_parts import CameraLook, GiemsaStain
from mnbatch.simulate.shapes import FloatArray
from mnbatch.simulate.texture import noise

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def transmit(layers: FloatArray, rng: np.random.Generator, stain: GiemsaStain, camera: CameraLook) -> FloatArray:
    """Light through the stained slide, (3, size, size), 1 = full range.

    Transmittance is exp(-sum over layers of density x absorbance), per colour.
    """
    size = layers.shape[1]
    vectors = np.array(
        [stain.nucleus, stain.cytoplasm, stain.granule, stain.dark, stain.red], dtype=np.float32
    ) * np.exp(rng.normal(0, 0.035, (5, 3))).astype(np.float32)
    # The share of eosin wanders within a nucleus, so that its colour is not flat.
    drift = noise(rng, (size, size), max(4.0, size / 16))
    absorbance = np.tensordot(vectors.T, layers, axes=1)
    absorbance[0] += 0.03 * drift * np.minimum(absorbance[0], 1.0)
    absorbance[2] -= 0.05 * drift * np.minimum(absorbance[2], 1.0)
    film = stain.ground * (noise(rng, (size, size), size / 5) + 0.5 * noise(rng, (size, size), size / 22))
    light = (1 - camera.glare) * np.exp(-absorbance - film) + camera.glare
    light *= illumination(size, camera)
    light *= np.array(stain.background, dtype=np.float32)[:, None, None]
    grey = np.tensordot(_LUMA, light, axes=1)
    return (grey + (light - grey) * np.float32(stain.saturation)).astype(np.float32)


def luminance(pixels: FloatArray) -> FloatArray:
    """Grey value of (3, h, w) light."""
    return np.tensordot(_LUMA, pixels, axes=1).astype(np.float32)
