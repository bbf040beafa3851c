"""From light or stain in layers to the numbers in a file: stains, optics, noise, compression, resampling."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from mnbatch.simulate.cell_shapes import FloatArray
from mnbatch.simulate.painting import CYTOPLASM, DARK, GRANULE, NUCLEUS, noise
from mnbatch.simulate.slide_appearance import CameraAppearance, FluorescenceStain, GiemsaStain

# From light on the sensor to the numbers in a file: optics, noise, compression, resampling.


def illumination(size: int, camera: CameraAppearance) -> FloatArray:
    """Light relative to the middle, (size, size): one gradient and a fall towards the corners."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    return illumination_at(axis[None, :], axis[:, None], camera)


def illumination_at(xs: FloatArray, ys: FloatArray, camera: CameraAppearance) -> FloatArray:
    """Light relative to the middle at positions of the camera's picture; -1 and 1 are its borders."""
    slope = xs * np.cos(camera.gradient_angle) + ys * np.sin(camera.gradient_angle)
    light = 1.0 - 0.5 * camera.gradient * slope - 0.5 * camera.vignette * (xs**2 + ys**2)
    return np.asarray(light, dtype=np.float32)


def expose(light: FloatArray, rng: np.random.Generator, camera: CameraAppearance, blur: float) -> FloatArray:
    """What the sensor reads, 0..1, from the light that the specimen sends, (channels, size, size).

    Args:
        blur: standard deviation of the focus error, native px, added to the optics' own.
    """
    sigma = float(np.hypot(camera.psf, blur))
    shifts = (camera.fringe, 0.0, -camera.fringe)
    out = np.empty_like(light)
    for channel, plane in enumerate(light):
        shifted = _shifted(plane, shifts[channel]) if light.shape[0] == 3 and camera.fringe > 0.05 else plane
        out[channel] = ndimage.gaussian_filter(shifted, sigma, truncate=3.0)
    if camera.sharpen > 0.05:
        out += camera.sharpen * (out - ndimage.uniform_filter(out, (0, 3, 3)))
    out = np.clip(out, 0.0, None) ** np.float32(camera.gamma)
    for channel in range(out.shape[0]):
        grain = noise(rng, (out.shape[1], out.shape[2]), camera.grain)
        out[channel] += grain * np.sqrt(camera.shot**2 * out[channel] + camera.read**2)
    return np.clip(out, 0.0, 1.0)


def _shifted(plane: FloatArray, by: float) -> FloatArray:
    """Moved along x by less than one pixel (linear interpolation)."""
    neighbour = np.roll(plane, 1 if by > 0 else -1, axis=1)
    edge = 0 if by > 0 else -1
    neighbour[:, edge] = plane[:, edge]
    return np.asarray(((1 - abs(by)) * plane + abs(by) * neighbour), dtype=np.float32)


def to_file_size(pixels: npt.NDArray[np.uint8], size: int, camera: CameraAppearance) -> npt.NDArray[np.uint8]:
    """Compress as the scanner did and bring to the size of the gallery crop; grey (h, w) or RGB (h, w, 3)."""
    picture = Image.fromarray(pixels)
    if camera.jpeg > 0:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=camera.jpeg)
        picture = Image.open(io.BytesIO(buffer.getvalue()))
    if picture.size != (size, size):
        picture = picture.resize((size, size), _filter(camera))
    return np.asarray(picture, dtype=np.uint8)


def resized(plane: FloatArray, size: int, camera: CameraAppearance) -> FloatArray:
    """One float plane at the size of the gallery crop."""
    if plane.shape == (size, size):
        return plane
    return np.asarray(Image.fromarray(plane).resize((size, size), _filter(camera)), dtype=np.float32)


def _filter(camera: CameraAppearance) -> Image.Resampling:
    return Image.Resampling.BICUBIC if camera.smooth_upsampling else Image.Resampling.BILINEAR


# The fluorescence stain: light emitted by the layers, on a dark background.


def emit(
    layers: FloatArray,
    rng: np.random.Generator,
    stain: FluorescenceStain,
    camera: CameraAppearance,
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


# The Giemsa stain: light absorbed by stained layers (Beer-Lambert).


_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def transmit(layers: FloatArray, rng: np.random.Generator, stain: GiemsaStain, camera: CameraAppearance) -> FloatArray:
    """Light through the stained slide, (3, size, size), 1 = full range.

    Transmittance is exp(-sum over layers of density x absorbance), per colour.
    """
    size = layers.shape[1]
    vectors = absorbances(rng, stain)
    drift = noise(rng, (size, size), max(4.0, size / 16))
    film = noise(rng, (size, size), size / 5) + 0.5 * noise(rng, (size, size), size / 22)
    return absorb(
        layers=layers,
        vectors=vectors,
        drift=drift,
        film=film,
        lamp=illumination(size, camera),
        stain=stain,
        camera=camera,
    )


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
    camera: CameraAppearance,
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
    light = (1 - camera.glare) * np.exp(-absorbance - stain.smear * film) + camera.glare
    light *= lamp
    light *= np.array(stain.background, dtype=np.float32)[:, None, None]
    grey = np.tensordot(_LUMA, light, axes=1)
    return (grey + (light - grey) * np.float32(stain.saturation)).astype(np.float32)


def luminance(pixels: FloatArray) -> FloatArray:
    """Grey value of (3, h, w) light."""
    return np.tensordot(_LUMA, pixels, axes=1).astype(np.float32)
