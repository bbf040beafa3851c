"""Outlines of nuclei, cells and debris: a centre and a radius for every direction.

Positions are pixels of the picture being drawn (x to the right, y down, pixel centres at whole numbers).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

DIRECTIONS = 720
ANGLES: FloatArray = np.linspace(0.0, 2 * np.pi, DIRECTIONS, endpoint=False, dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """The part of the picture that an outline touches.

    Attributes:
        box: (rows, columns) slices into the picture.
        depth: px inside the outline; negative outside.
        rho: distance from the centre / radius in that direction (1 on the outline).
    """

    box: tuple[slice, slice]
    depth: FloatArray
    rho: FloatArray

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the patch."""
        return self.depth.shape[0], self.depth.shape[1]

    def cover(self, softness: float = 1.0) -> FloatArray:
        """Share of each pixel that is inside, 0..1, with an edge `softness` px wide (smooth step)."""
        t = np.clip(self.depth / max(softness, 0.7) + 0.5, 0.0, 1.0)
        return np.asarray((t * t * (3.0 - 2.0 * t)), dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """A star-shaped outline.

    Attributes:
        x, y: centre, px.
        radii: px, (DIRECTIONS,), counted from the x axis towards y.
    """

    x: float
    y: float
    radii: FloatArray
    _tilt: FloatArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Radial distance overstates the true one where the edge is oblique: to first order by this cosine.
        step = 4 * np.pi / DIRECTIONS
        slope = np.empty_like(self.radii)
        slope[1:-1] = self.radii[2:] - self.radii[:-2]
        slope[0], slope[-1] = self.radii[1] - self.radii[-1], self.radii[0] - self.radii[-2]
        tilt = 1.0 / np.sqrt(1.0 + (slope / (step * self.radii)) ** 2)
        object.__setattr__(self, "_tilt", tilt.astype(np.float32))

    @property
    def reach(self) -> float:
        """Largest radius, px."""
        return float(self.radii.max())

    @property
    def mean_radius(self) -> float:
        """Radius of the circle of equal area, px."""
        return float(np.sqrt(np.mean(self.radii**2)))

    def depth(self, xs: FloatArray, ys: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Signed distance to the outline (px, positive inside, first order), relative radius; at points."""
        dx, dy = xs - np.float32(self.x), ys - np.float32(self.y)
        rho = np.sqrt(dx * dx + dy * dy)
        index = (np.arctan2(dy, dx) * np.float32(DIRECTIONS / (2 * np.pi))).astype(np.int32) % DIRECTIONS
        radius = self.radii[index]
        return (radius - rho) * self._tilt[index], rho / radius

    def depth_at(self, x: float, y: float) -> float:
        """Signed distance to the outline at one point, px, positive inside."""
        return float(self.depth(np.array([x], dtype=np.float32), np.array([y], dtype=np.float32))[0][0])

    def patch(self, size: int, pad: float = 2.0) -> Patch | None:
        """What of the outline lies in a size x size picture, with `pad` px around; None if nothing does."""
        reach = self.reach + pad
        x0, x1 = max(0, int(self.x - reach)), min(size, int(self.x + reach) + 2)
        y0, y1 = max(0, int(self.y - reach)), min(size, int(self.y + reach) + 2)
        if x0 >= x1 or y0 >= y1:
            return None
        xs = np.arange(x0, x1, dtype=np.float32)[None, :]
        ys = np.arange(y0, y1, dtype=np.float32)[:, None]
        depth, rho = self.depth(xs, ys)
        return Patch((slice(y0, y1), slice(x0, x1)), depth, rho)

    def mask(self, size: int, zoom: float = 1.0) -> BoolArray:
        """Pixels of a size x size picture, drawn `zoom` times larger, whose centre is inside."""
        out = np.zeros((size, size), dtype=bool)
        # Pixel centres: position p of the small picture is (p + 0.5) zoom - 0.5 in the large one.
        x, y = (self.x + 0.5) * zoom - 0.5, (self.y + 0.5) * zoom - 0.5
        patch = Outline(x, y, (self.radii * zoom).astype(np.float32)).patch(size)
        if patch is not None:
            out[patch.box] = patch.depth > 0
        return out

    def moved(self, dx: float, dy: float) -> Outline:
        """The same outline elsewhere."""
        return Outline(self.x + dx, self.y + dy, self.radii)

    def at(self, angle: float, share: float = 1.0) -> tuple[float, float]:
        """Point in a direction (radians), at `share` of the radius there."""
        radius = float(self.radii[int(angle / (2 * np.pi) * DIRECTIONS) % DIRECTIONS]) * share
        return self.x + radius * float(np.cos(angle)), self.y + radius * float(np.sin(angle))


def wobble(rng: np.random.Generator, amount: float, first: int = 2, last: int = 7, fall: float = 1.3) -> FloatArray:
    """Smooth random function of direction, (DIRECTIONS,), with a standard deviation of about 0.7 `amount`.

    It is a sum of the harmonics first..last with random phases and amplitudes that fall as k^-fall.
    """
    orders = np.arange(first, last + 1)
    weights = (orders / first) ** -fall
    weights = amount * weights / np.sqrt(np.sum(weights**2) / 2)
    amplitudes = weights * rng.normal(0.0, 0.7, len(orders))
    phases = rng.uniform(0.0, 2 * np.pi, len(orders))
    spectrum = np.zeros(DIRECTIONS // 2 + 1, dtype=np.complex128)
    spectrum[first : last + 1] = amplitudes * np.exp(1j * phases) * (DIRECTIONS / 2)
    return np.asarray(np.fft.irfft(spectrum, DIRECTIONS), dtype=np.float32)


def ellipse_radii(radius: float, aspect: float, angle: float) -> FloatArray:
    """Radii of an ellipse with the area of a circle of `radius`; `aspect` = short / long axis."""
    long, short = radius / np.sqrt(aspect), radius * np.sqrt(aspect)
    turned = ANGLES - angle
    radii = long * short / np.sqrt((short * np.cos(turned)) ** 2 + (long * np.sin(turned)) ** 2)
    return np.asarray(radii, dtype=np.float32)


def bump(angle: float, width: float) -> FloatArray:
    """A bell of height 1 around a direction, (DIRECTIONS,); `width` in radians."""
    away = np.angle(np.exp(1j * (ANGLES - angle)))
    return np.asarray(np.exp(-0.5 * (away / width) ** 2), dtype=np.float32)


def blob(
    rng: np.random.Generator,
    x: float,
    y: float,
    radius: float,
    *,
    aspect: float = 1.0,
    angle: float | None = None,
    roughness: float = 0.04,
    last: int = 7,
) -> Outline:
    """A rounded outline: an ellipse with a low-frequency random edge (`roughness` relative to the radius)."""
    turn = float(rng.uniform(0, 2 * np.pi)) if angle is None else angle
    factor = np.exp(wobble(rng, roughness, 2, last))
    return Outline(x, y, np.maximum(ellipse_radii(radius, aspect, turn) * factor, 0.4).astype(np.float32))


def envelope(parts: Sequence[Outline], margin: FloatArray, roundness: float = 0.0, smooth: float = 0.35) -> Outline:
    """One outline around several: their common reach in every direction, smoothed, plus `margin` px.

    Args:
        parts: outlines to enclose; one or more.
        margin: px, (DIRECTIONS,).
        roundness: 0 follows the parts with a waist between them, 1 is a circle around them.
        smooth: width of the smoothing in radians; fills the waist between two nuclei.
    """
    weights = np.array([p.mean_radius**2 for p in parts])
    x = float(np.sum([p.x * w for p, w in zip(parts, weights, strict=True)]) / weights.sum())
    y = float(np.sum([p.y * w for p, w in zip(parts, weights, strict=True)]) / weights.sum())
    reach = np.zeros(DIRECTIONS, dtype=np.float32)
    for part in parts:
        dx = part.x + part.radii * np.cos(ANGLES) - x
        dy = part.y + part.radii * np.sin(ANGLES) - y
        index = (np.arctan2(dy, dx) * (DIRECTIONS / (2 * np.pi))).astype(np.int32) % DIRECTIONS
        np.maximum.at(reach, index, np.hypot(dx, dy).astype(np.float32))
    reach = _fill_gaps(reach)
    reach = reach + np.float32(roundness) * (reach.max() - reach)
    smoothed = _smooth_turn(reach, smooth)
    return Outline(x, y, np.maximum(np.maximum(smoothed, reach * 0.97) + margin, 1.0).astype(np.float32))


def _fill_gaps(reach: FloatArray) -> FloatArray:
    known = np.flatnonzero(reach > 0)
    if known.size == reach.size:
        return reach
    filled = np.interp(np.arange(reach.size), known, reach[known], period=reach.size)
    return np.asarray(filled, dtype=np.float32)


def _smooth_turn(values: FloatArray, width: float) -> FloatArray:
    """Gaussian smoothing around the full turn (radians), by Fourier coefficients."""
    spectrum = np.fft.rfft(values)
    orders = np.arange(spectrum.size)
    spectrum *= np.exp(-0.5 * (orders * width) ** 2)
    return np.asarray(np.fft.irfft(spectrum, values.size), dtype=np.float32)
