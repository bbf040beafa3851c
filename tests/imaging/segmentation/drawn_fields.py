"""Small drawn fields with known nuclei."""

import numpy as np


def discs(shape, places, level=200.0, background=20.0, noise=3.0, seed=0):
    """8-bit field, bright discs (x, y, radius[, level]) on dark background."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    image = np.full(shape, background, np.float64)
    for x, y, radius, *own in places:
        edge = np.clip(radius + 0.5 - np.hypot(columns - x, rows - y), 0, 1)
        image = np.maximum(image, background + edge * ((own[0] if own else level) - background))
    return np.clip(image + rng.normal(0, noise, shape), 0, 255).astype(np.uint8)


GIEMSA_NUCLEUS = np.array([0.75, 1.0, 0.45]) * 0.75
GIEMSA_CYTOPLASM = np.array([0.7, 0.75, 0.3]) * 0.15


def stained(shape, cells, background=(240, 235, 225), noise=2.0, seed=0):
    """8-bit RGB field; a cell is (x, y, body radius, [(x, y, nucleus radius), ...])."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    density = np.zeros((*shape, 3))
    for x, y, radius, nuclei in cells:
        body = np.clip(radius + 0.5 - np.hypot(columns - x, rows - y), 0, 1)
        density = np.maximum(density, body[..., None] * GIEMSA_CYTOPLASM)
        for nx, ny, nr in nuclei:
            nucleus = np.clip(nr + 0.5 - np.hypot(columns - nx, rows - ny), 0, 1)
            density = np.maximum(density, nucleus[..., None] * GIEMSA_NUCLEUS)
    light = np.asarray(background) * 10**-density
    return np.clip(light + rng.normal(0, noise, light.shape), 0, 255).astype(np.uint8)
