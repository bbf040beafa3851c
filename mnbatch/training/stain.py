"""From density layers to a picture: absorbance through stain vectors (Beer-Lambert), optics, camera and compression."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from mnbatch.training.bodies import CANVAS, smooth_noise
from mnbatch.training.patches import FloatArray, PatchLibrary
from mnbatch.training.scene import Scene, SceneDrawer

UInt8Array = npt.NDArray[np.uint8]

# Absorbance per channel (red, green, blue) of a unit of stain; directions of thiazine blue on chromatin, of blue to
# pink cytoplasm, of purple platelets and of precipitate. Each slide draws its own round these.
CHROMATIN = np.array([0.75, 0.85, 0.35])
CYTOPLASMS = (np.array([0.50, 0.55, 0.20]), np.array([0.25, 0.70, 0.40]), np.array([0.35, 0.45, 0.45]))
PLATELET = np.array([0.45, 0.75, 0.25])
DEBRIS = np.array([0.75, 0.85, 0.60])


def _drawn_vector(rng: np.random.Generator, mean: npt.NDArray[np.float64]) -> FloatArray:
    vector = mean * np.exp(rng.normal(0, 0.18, 3))
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def absorb(rng: np.random.Generator, scene: Scene) -> FloatArray:
    """Light through a stained scene: (CANVAS, CANVAS, 3), 0..1.

    Cytoplasm lies above and below a nucleus only in part, so its stain counts for 30 % where chromatin is.
    """
    depth = rng.uniform(0.35, 1.3)
    ground = np.array([rng.uniform(0.75, 1.0), rng.uniform(0.75, 1.0), rng.uniform(0.6, 1.0)], np.float32)
    tint = CYTOPLASMS[int(rng.integers(len(CYTOPLASMS)))]
    cytoplasm = scene.cytoplasm * (1 - 0.7 * scene.chromatin.clip(0, 1))
    density = scene.chromatin[..., None] * _drawn_vector(rng, CHROMATIN)
    density = density + cytoplasm[..., None] * _drawn_vector(rng, tint)
    density = density + scene.platelet[..., None] * _drawn_vector(rng, PLATELET)
    density = density + scene.debris[..., None] * _drawn_vector(rng, DEBRIS)
    uneven = 1 + rng.uniform(0, 0.06) * smooth_noise(rng, 110)
    return np.asarray(ground * uneven[..., None] * 10 ** (-depth * density), np.float32)


def glow(rng: np.random.Generator, scene: Scene) -> FloatArray:
    """Light from a fluorescent scene: (CANVAS, CANVAS, 3) grey, 0..1; cytoplasm and platelets hardly glow."""
    signal = scene.chromatin + rng.uniform(0, 0.15) * scene.cytoplasm + rng.uniform(0, 0.3) * scene.platelet
    signal = signal + rng.uniform(0, 0.5) * scene.debris
    grey = rng.uniform(0.01, 0.2) + rng.uniform(0.5, 0.85) * signal ** rng.uniform(0.8, 1.2)
    return np.repeat(grey[..., None], 3, axis=2).astype(np.float32)


def expose(rng: np.random.Generator, light: FloatArray, width: int) -> UInt8Array:
    """Blur, sample at `width` pixels, add camera noise and, mostly, JPEG: (width, width, 3) uint8."""
    scale = CANVAS / width
    sigma = np.hypot(0.4 * scale, rng.uniform(0.3, 1.3) * max(1.0, 0.6 * scale))
    blurred = ndimage.gaussian_filter(light, (sigma, sigma, 0))
    picture = Image.fromarray((blurred.clip(0, 1) * 255).astype(np.uint8)).resize(
        (width, width), Image.Resampling.BILINEAR
    )
    noisy = np.asarray(picture, np.float32) + rng.normal(0, rng.uniform(0.3, 5), (width, width, 1))
    picture = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    return recompressed(rng, picture) if rng.uniform() < 0.7 else np.asarray(picture)


def recompressed(rng: np.random.Generator, picture: Image.Image) -> UInt8Array:
    """The picture after JPEG compression of a drawn quality (35 to 95)."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=int(rng.integers(35, 96)))
    return np.asarray(Image.open(buffer).convert("RGB"))


def composite_cell(
    rng: np.random.Generator, library: PatchLibrary, n_mn: int, stained: bool = True
) -> tuple[UInt8Array, int]:
    """One composite cell: (picture, micronuclei drawn); the picture is 60 to 224 pixels wide, as galleries are."""
    width = int(np.exp(rng.uniform(np.log(70), np.log(CANVAS))))
    scene = SceneDrawer(rng, library, least_radius=1.4 * CANVAS / width).draw(n_mn)
    light = absorb(rng, scene) if stained else glow(rng, scene)
    return expose(rng, light, width), scene.n_mn
