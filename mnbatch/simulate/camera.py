"""From light on the sensor to the numbers in a file: optics, noise, compression, resampling."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from mnbatch.simulate.look_parts import CameraLook
from mnbatch.simulate.shapes import FloatArray
from mnbatch.simulate.texture import noise


def illumination(size: int, camera: CameraLook) -> FloatArray:
    """Light relative to the middle, (size, size): one gradient and a fall towards the corners."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    return illumination_at(axis[None, :], axis[:, None], camera)


def illumination_at(xs: FloatArray, ys: FloatArray, camera: CameraLook) -> FloatArray:
    """Light relative to the middle at positions of the camera's picture; -1 and 1 are its borders."""
    slope = xs * np.cos(camera.gradient_angle) + ys * np.sin(camera.gradient_angle)
    light = 1.0 - 0.5 * camera.gradient * slope - 0.5 * camera.vignette * (xs**2 + ys**2)
    return np.asarray(light, dtype=np.float32)


def expose(light: FloatArray, rng: np.random.Generator, camera: CameraLook, blur: float) -> FloatArray:
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


def to_file_size(pixels: npt.NDArray[np.uint8], size: int, camera: CameraLook) -> npt.NDArray[np.uint8]:
    """Compress as the scanner did and bring to the size of the gallery crop; grey (h, w) or RGB (h, w, 3)."""
    picture = Image.fromarray(pixels)
    if camera.jpeg > 0:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=camera.jpeg)
        picture = Image.open(io.BytesIO(buffer.getvalue()))
    if picture.size != (size, size):
        picture = picture.resize((size, size), _filter(camera))
    return np.asarray(picture, dtype=np.uint8)


def resized(plane: FloatArray, size: int, camera: CameraLook) -> FloatArray:
    """One float plane at the size of the gallery crop."""
    if plane.shape == (size, size):
        return plane
    return np.asarray(Image.fromarray(plane).resize((size, size), _filter(camera)), dtype=np.float32)


def _filter(camera: CameraLook) -> Image.Resampling:
    return Image.Resampling.BICUBIC if camera.smooth_upsampling else Image.Resampling.BILINEAR
