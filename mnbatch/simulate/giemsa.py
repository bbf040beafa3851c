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
    vectors = absorbances(rng, stain)
    drift = noise(rng, (size, size), max(4.0, size / 16))
    film = noise(rng, (size, size), size / 5) + 0.5 * noise(rng, (size, size), size / 22)
    return absorb(layers, vectors, drift, film, illumination(size, camera), stain, camera)


def absorbances(rng: np.random.Generator, stain: GiemsaStain) -> FloatArray:
    """Absorbance of each layer in red, green, blue, (LAYERS, 3), as this picture drifts from its slide."""
    return np.array([stain.nucleus, stain.cytoplasm, stain.granule, stain.dark, stain.red], dtype=np.float32) * np.exp(
        rng.normal(0, 0.035, (5, 3))
    ).astype(np.float32)


def absorb(
    layers: FloatArray,
    vectors: FloatArray,
    drift: FloatArray,
    film: FloatArray,
    lamp: FloatArray,
    stain: GiemsaStain,
    camera: CameraLook,
) -> FloatArray:
    """Light through layers (LAYERS, h, w): (3, h, w), 1 = full range.

    Args:
        vectors: absorbance of each layer, (LAYERS, 3).
        drift, film: smooth noise, (h, w), standard deviation about 1: of the stain's tone, of the empty slide.
        lamp: illumination, (h, w), 1 in the middle of the camera's picture.
    """
    absorbance = np.tensordot(vectors.T, layers, axes=1)
    # The share of eosin wanders within a nucleus, so that its colour is not flat.
    absorbance[0] += 0.03 * drift * np.minimum(absorbance[0], 1.0)
    absorbance[2] -= 0.05 * drift * np.minimum(absorbance[2], 1.0)
    light = (1 - camera.glare) * np.exp(-absorbance - stain.ground * film) + camera.glare
    light *= lamp
    light *= np.array(stain.background, dtype=np.float32)[:, None, None]
    grey = np.tensordot(_LUMA, light, axes=1)
    return (grey + (light - grey) * np.float32(stain.saturation)).astype(np.float32)


def luminance(pixels: FloatArray) -> FloatArray:
    """Grey value of (3, h, w) light."""
    return np.tensordot(_LUMA, pixels, axes=1).astype(np.float32)
