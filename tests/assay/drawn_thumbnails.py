"""Small pictures of cells, drawn quickly: two nuclei in their own place, form and light, with the noise of a camera."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from mnbatch.assay.near_copies import SIDE

ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE].astype(float)


def cell(rng: np.random.Generator) -> np.ndarray:
    """A cell without noise, float (64, 64): pairs of nuclei like those of cells cut from a slide, all much alike."""
    angle, gap, middle = rng.uniform(0, np.pi), rng.uniform(8, 11), 31.5 + rng.normal(0, 1, 2)
    image = np.full((SIDE, SIDE), 25.0)
    for side in (-1, 1):
        y, x = middle + side * gap * np.array([np.sin(angle), np.cos(angle)])
        wide, flat, turn = rng.uniform(8, 10), rng.uniform(0.75, 1), rng.uniform(0, np.pi)
        u = (COLUMNS - x) * np.cos(turn) + (ROWS - y) * np.sin(turn)
        v = (ROWS - y) * np.cos(turn) - (COLUMNS - x) * np.sin(turn)
        image += rng.uniform(110, 150) / (1 + np.exp(np.hypot(u, v / flat) - wide))
    return image


def photographed(image: np.ndarray, rng: np.random.Generator, blur: float = 0.6) -> np.ndarray:
    """uint8, out of focus by this much."""
    return np.clip(ndimage.gaussian_filter(image, blur) + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


def body(image: np.ndarray) -> np.ndarray:
    """The same cell in a stain of its body."""
    return 30 + 150 * ndimage.gaussian_filter(ndimage.binary_dilation(image > 80, iterations=5).astype(float), 1.5)
