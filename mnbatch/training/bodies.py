"""Bodies and their places: drawing one on a canvas, and where nuclei, micronuclei and cytoplasm may lie.

Lengths are pixels of a 224 x 224 canvas. A micronucleus is 1/16 to about 1/3 of the main nucleus in diameter, round,
stained like the nucleus and not linked to it (the usual scoring criteria).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.special import expit

from mnbatch.training.patches import PATCH, FloatArray, Patch

CANVAS = 224


@dataclass(frozen=True, slots=True)
class Disc:
    """A body's place: centre (x, y) and radius, pixels."""

    x: float
    y: float
    radius: float


def smooth_noise(rng: np.random.Generator, grain: float, size: int = CANVAS) -> FloatArray:
    """Noise of mean 0 and standard deviation 1 with a correlation length of about `grain` pixels."""
    cells = max(2, int(np.ceil(size / max(grain, 1.0))) + 3)
    coarse = rng.standard_normal((cells, cells)).astype(np.float32)
    if cells >= size:
        return coarse[:size, :size]
    fine = ndimage.zoom(coarse, size / (cells - 3), order=3, mode="nearest", grid_mode=False)
    fine = fine[:size, :size]
    return np.asarray((fine - fine.mean()) / max(float(fine.std()), 1e-6), np.float32)


def drawn_patch(rng: np.random.Generator, roughness: float = 0.06) -> Patch:
    """A procedural body: a near-circular Fourier blob with smooth texture, in the frame of `Patch`."""
    axis = (np.arange(PATCH, dtype=np.float32) - (PATCH - 1) / 2) / (PATCH / 3)
    x, y = np.meshgrid(axis, axis)
    angle = np.arctan2(y, x)
    edge = np.ones_like(x)
    for order in range(2, 6):
        edge += roughness / (order - 1) * rng.standard_normal() * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    alpha = 1 / (1 + np.exp((np.hypot(x, y) - edge) * rng.uniform(14, 30)))
    texture = 1 + rng.uniform(0.02, 0.2) * smooth_noise(rng, rng.uniform(3, 12), PATCH)
    return Patch(texture.clip(0.3, 2).astype(np.float32), alpha.astype(np.float32))


def stamp(layer: FloatArray, patch: Patch, place: Disc, density: float, turn: float, contrast: float = 1.0) -> None:
    """Add a body to a layer, in place: denser wins, a little of the other shines through an overlap.

    Args:
        density: of the body's middle, in units of the scene.
        turn: rotation, radians.
        contrast: 1 keeps the patch's texture, 0 makes it flat.
    """
    reach = int(np.ceil(place.radius * 1.5)) + 2
    left, top = int(place.x) - reach, int(place.y) - reach
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(CANVAS, left + 2 * reach), min(CANVAS, top + 2 * reach)
    if x1 <= x0 or y1 <= y0:
        return
    ys, xs = np.mgrid[y0:y1, x0:x1].astype(np.float32)
    scale = PATCH / 3 / place.radius
    dx, dy = (xs - place.x) * scale, (ys - place.y) * scale
    cos, sin = np.cos(turn), np.sin(turn)
    grid = [(PATCH - 1) / 2 + dx * sin + dy * cos, (PATCH - 1) / 2 + dx * cos - dy * sin]
    soften = max(0.0, 0.4 * scale - 0.4)
    body = ndimage.map_coordinates(ndimage.gaussian_filter(patch.density, soften), grid, order=1, mode="nearest")
    alpha = ndimage.map_coordinates(ndimage.gaussian_filter(patch.alpha, soften), grid, order=1, mode="constant")
    added = density * alpha * (1 + contrast * (body - 1)).clip(0.2, 2.2)
    window = layer[y0:y1, x0:x1]
    layer[y0:y1, x0:x1] = np.maximum(window, added) + 0.25 * np.minimum(window, added)


def place_nuclei(rng: np.random.Generator) -> list[Disc]:
    """One to four main nuclei round the middle of the canvas; 2 x radius is 20 to 60 % of the width."""
    count = int(rng.choice([1, 2, 3, 4], p=[0.27, 0.60, 0.08, 0.05]))
    largest = {1: 0.60, 2: 0.42, 3: 0.33, 4: 0.30}[count]
    radius = rng.uniform(0.18, largest) / 2 * CANVAS
    middle = CANVAS / 2 + rng.normal(0, 0.03 * CANVAS, 2)
    if count == 1:
        return [Disc(middle[0], middle[1], radius)]
    start = rng.uniform(0, 2 * np.pi)
    ring = {2: 1.0, 3: 1.2, 4: 1.45}[count] * radius * rng.uniform(0.82, 1.25)
    discs = []
    for k in range(count):
        angle = start + 2 * np.pi * k / count + rng.normal(0, 0.08)
        discs.append(
            Disc(
                middle[0] + ring * np.cos(angle),
                middle[1] + ring * np.sin(angle),
                radius * rng.uniform(0.9, 1.1),
            )
        )
    return discs


def place_slot(rng: np.random.Generator, nuclei: list[Disc], least: float, taken: list[Disc]) -> Disc | None:
    """A place for a micronucleus (or something in its stead) beside a main nucleus, or None after 20 tries.

    Args:
        least: smallest radius that survives the drawing's final resolution, pixels.
    """
    for _ in range(20):
        host = nuclei[int(rng.integers(len(nuclei)))]
        radius = max(least, host.radius * np.exp(rng.uniform(np.log(1 / 11), np.log(0.38))))
        kind = rng.uniform()
        gap = -0.25 * radius if kind < 0.12 else rng.uniform(0, 0.55) * host.radius
        if kind > 0.85:
            gap = rng.uniform(0.5, 1.1) * host.radius
        angle = rng.uniform(0, 2 * np.pi)
        distance = host.radius + radius + gap
        slot = Disc(host.x + distance * np.cos(angle), host.y + distance * np.sin(angle), radius)
        others = [(other, -0.3) for other in nuclei] + [(other, 0.3) for other in taken]
        inside = 4 < slot.x < CANVAS - 4 and 4 < slot.y < CANVAS - 4
        if inside and all(gap_between(slot, other) > share * radius for other, share in others):
            return slot
    return None


def gap_between(a: Disc, b: Disc) -> float:
    """Distance between the edges of two discs; below 0 where they overlap."""
    return float(np.hypot(a.x - b.x, a.y - b.y)) - a.radius - b.radius


def cell_outline(rng: np.random.Generator, bodies: list[Disc], margin: float, soft: float) -> FloatArray:
    """A rounded convex-like outline round all bodies: (CANVAS, CANVAS), 1 inside, 0 outside, `soft` pixels wide."""
    middle_x = float(np.mean([b.x for b in bodies]))
    middle_y = float(np.mean([b.y for b in bodies]))
    angles = np.linspace(0, 2 * np.pi, 181)
    reach = np.max(
        [(b.x - middle_x) * np.cos(angles) + (b.y - middle_y) * np.sin(angles) + b.radius for b in bodies],
        axis=0,
    )
    wave = sum(rng.standard_normal() / k * np.cos(k * angles + rng.uniform(0, 2 * np.pi)) for k in range(2, 6))
    reach = _rounded(reach)
    reach = np.maximum(reach * (1 + margin) + 0.04 * float(reach.mean()) * wave, 4)
    ys, xs = np.mgrid[0:CANVAS, 0:CANVAS].astype(np.float32)
    angle = np.arctan2(ys - middle_y, xs - middle_x) % (2 * np.pi)
    edge = np.interp(angle, angles, reach)
    outside = (np.hypot(xs - middle_x, ys - middle_y) - edge) / soft
    return np.asarray(expit(-outside), np.float32)


def _rounded(reach: FloatArray) -> FloatArray:
    """A support function taken as a radius has lobes; the widest nearby reach, smoothed, has none."""
    widest = ndimage.maximum_filter1d(reach[:-1], 21, mode="wrap")
    smooth = ndimage.gaussian_filter1d(0.35 * widest + 0.65 * reach[:-1], 12, mode="wrap")
    smooth = np.maximum(smooth, 0.98 * reach[:-1])
    return np.append(smooth, smooth[0]).astype(np.float32)
