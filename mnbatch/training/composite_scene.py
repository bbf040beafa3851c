"""What is in a composite training cell, as layers of stain density, and the picture of it."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage
from scipy.special import expit

from mnbatch.training.real_pieces import PATCH, FloatArray, Patch, PatchLibrary

# From density layers to a picture: absorbance through stain vectors (Beer-Lambert), optics, camera and compression.


UInt8Array = npt.NDArray[np.uint8]

# Absorbance per channel (red, green, blue) of a unit of stain; directions of thiazine blue on chromatin, of blue to
# pink cytoplasm, of purple platelets and of precipitate. Each slide draws its own round these.
CHROMATIN = np.array([0.75, 0.85, 0.35])
CYTOPLASMS = (np.array([0.50, 0.55, 0.20]), np.array([0.25, 0.70, 0.40]), np.array([0.35, 0.45, 0.45]))
PLATELET = np.array([0.45, 0.75, 0.25])
PRECIPITATES = (np.array([0.75, 0.85, 0.60]), np.ones(3), np.array([1.12, 0.85, 1.0]), np.array([1.1, 1.0, 0.8]))
"""Of precipitate: a little purple, neutral black, green-black, blue-black."""


def _drawn_vector(rng: np.random.Generator, mean: npt.NDArray[np.float64], spread: float = 0.18) -> FloatArray:
    vector = mean * np.exp(rng.normal(0, spread, 3))
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def absorb(rng: np.random.Generator, scene: Scene) -> FloatArray:
    """Light through a stained scene: (CANVAS, CANVAS, 3), 0..1.

    Cytoplasm lies above and below a nucleus only in part, so its stain counts for 30 % where chromatin is.
    """
    depth = rng.uniform(0.35, 1.3)
    background = np.array([rng.uniform(0.75, 1.0), rng.uniform(0.75, 1.0), rng.uniform(0.6, 1.0)], np.float32)
    precipitate = PRECIPITATES[int(rng.choice(len(PRECIPITATES), p=(0.2, 0.4, 0.25, 0.15)))]
    strength = np.float32(rng.uniform(1.0, 2.2))
    tint = CYTOPLASMS[int(rng.integers(len(CYTOPLASMS)))]
    cytoplasm = scene.cytoplasm * (1 - 0.7 * scene.chromatin.clip(0, 1))
    density = scene.chromatin[..., None] * _drawn_vector(rng, CHROMATIN)
    density = density + cytoplasm[..., None] * _drawn_vector(rng, tint)
    density = density + scene.platelet[..., None] * _drawn_vector(rng, PLATELET)
    density = density + scene.debris[..., None] * _drawn_vector(rng, precipitate, 0.06) * strength
    uneven = 1 + rng.uniform(0, 0.06) * smooth_noise(rng, 110)
    return np.asarray(background * uneven[..., None] * 10 ** (-depth * density), np.float32)


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
    """One composite cell: (picture, micronuclei drawn); the picture is 60 to 224 pixels wide, as scanners write."""
    width = int(np.exp(rng.uniform(np.log(70), np.log(CANVAS))))
    scene = SceneDrawer(rng, library, least_radius=1.4 * CANVAS / width).draw(n_mn)
    light = absorb(rng, scene) if stained else glow(rng, scene)
    return expose(rng, light, width), scene.n_mn


# Bodies and their places: drawing one on a canvas, and where nuclei, micronuclei and cytoplasm may lie.
#
# Lengths are pixels of a 224 x 224 canvas. A micronucleus is 1/16 to about 1/3 of the main nucleus in diameter, round,
# stained like the nucleus and not linked to it (the usual scoring criteria).


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


# What lies in a composite cell: nuclei, cytoplasm, micronuclei and look-alikes, as layers of stain density.
#
# A cell with and a cell without micronuclei are drawn by the same law, look-alikes, debris and the shape of the
# cytoplasm included; the only difference is the micronuclei themselves. A platelet or a stain speck breaks at least one
# of the criteria of a micronucleus: its stain, its outline, its size, or its place in the cell.


def empty_layer() -> FloatArray:
    """A canvas without stain."""
    return np.zeros((CANVAS, CANVAS), np.float32)


@dataclass(slots=True, eq=False)
class Scene:
    """Density layers, each (CANVAS, CANVAS) float32; 1 is the density of this cell's main nuclei.

    Attributes:
        chromatin: nuclei and micronuclei.
        cytoplasm: cytoplasm of this cell and of its neighbours.
        platelet: platelets and pale granules.
        debris: stain precipitate.
        n_mn: micronuclei drawn.
    """

    chromatin: FloatArray = field(default_factory=empty_layer)
    cytoplasm: FloatArray = field(default_factory=empty_layer)
    platelet: FloatArray = field(default_factory=empty_layer)
    debris: FloatArray = field(default_factory=empty_layer)
    n_mn: int = 0


class SceneDrawer:
    """Draws scenes from one library of bodies with one generator.

    Args:
        least_radius: smallest radius of a micronucleus, pixels of the canvas.
    """

    def __init__(self, rng: np.random.Generator, library: PatchLibrary, least_radius: float) -> None:
        self.rng = rng
        self.library = library
        self.least = least_radius
        self.flatness = rng.uniform(0.25, 1.0)

    def draw(self, n_mn: int) -> Scene:
        """A cell with up to `n_mn` micronuclei (fewer where there is no room)."""
        rng = self.rng
        scene = Scene()
        nuclei = place_nuclei(rng)
        slots: list[Disc] = []
        for _ in range(n_mn + int(rng.choice([0, 1, 2, 3], p=[0.35, 0.35, 0.2, 0.1]))):
            slot = place_slot(rng, nuclei, self.least, slots)
            if slot is not None:
                slots.append(slot)
        self._neighbours(scene, nuclei)
        self._cytoplasm(scene, nuclei, slots)
        for disc in nuclei:
            stamp(
                layer=scene.chromatin,
                patch=self._nucleus(),
                place=disc,
                density=rng.normal(1, 0.06),
                turn=rng.uniform(0, 6.3),
                contrast=self.flatness,
            )
        if len(nuclei) == 2 and rng.uniform() < 0.08:
            self._bridge(scene, nuclei)
        for index, slot in enumerate(slots):
            if index < n_mn:
                self._micronucleus(scene, slot)
            else:
                self._lookalike(scene, slot)
        self._on_nuclei(scene, nuclei, slots)
        self._surroundings(scene, nuclei)
        return scene

    def _nucleus(self) -> Patch:
        if self.library.nuclei and self.rng.uniform() < 0.75:
            return self.library.nuclei[int(self.rng.integers(len(self.library.nuclei)))]
        return drawn_patch(self.rng)

    def _platelet(self) -> Patch:
        if self.library.platelets and self.rng.uniform() < 0.7:
            return self.library.platelets[int(self.rng.integers(len(self.library.platelets)))]
        return drawn_patch(self.rng, roughness=0.2)

    def _micronucleus(self, scene: Scene, slot: Disc) -> None:
        rng = self.rng
        patch = self._nucleus() if rng.uniform() < 0.5 else drawn_patch(rng, roughness=0.04)
        stamp(
            layer=scene.chromatin,
            patch=patch,
            place=slot,
            density=rng.uniform(0.62, 1.08),
            turn=rng.uniform(0, 6.3),
            contrast=0.6 * self.flatness,
        )
        scene.n_mn += 1

    def _lookalike(self, scene: Scene, slot: Disc) -> None:
        """In a micronucleus's place: pale platelet, ragged precipitate, vacuole, granules, speck."""
        rng = self.rng
        kind = rng.choice(["platelet", "crumb", "vacuole", "granules", "speck"], p=[0.36, 0.26, 0.08, 0.12, 0.18])
        if kind == "platelet":
            stamp(scene.platelet, self._platelet(), slot, rng.uniform(0.15, 0.6), rng.uniform(0, 6.3))
        elif kind == "crumb":
            crumb = Disc(slot.x, slot.y, min(slot.radius, 8))
            stamp(scene.debris, drawn_patch(rng, rng.uniform(0.3, 0.5)), crumb, rng.uniform(0.6, 1.7), 0.0)
        elif kind == "vacuole":
            hole = np.zeros_like(scene.cytoplasm)
            stamp(layer=hole, patch=drawn_patch(rng), place=slot, density=rng.uniform(0.4, 1.0), turn=0.0, contrast=0.0)
            scene.cytoplasm *= 1 - hole.clip(0, 1)
        elif kind == "granules":
            for _ in range(int(rng.integers(4, 14))):
                x, y = rng.normal((slot.x, slot.y), 1.5 * slot.radius)
                stamp(
                    scene.platelet,
                    drawn_patch(rng),
                    Disc(x, y, rng.uniform(1.0, 2.0)),
                    rng.uniform(0.2, 0.7),
                    0.0,
                )
        elif kind == "speck":
            speck = Disc(slot.x, slot.y, rng.uniform(0.8, 1.6))
            stamp(scene.debris, drawn_patch(rng, 0.25), speck, rng.uniform(0.6, 1.8), 0.0)

    def _on_nuclei(self, scene: Scene, nuclei: list[Disc], slots: list[Disc]) -> None:
        """Precipitate at the rim of a nucleus or over it, in a third of the cells of either class; off all slots."""
        rng = self.rng
        if rng.uniform() > 0.33:
            return
        host = nuclei[int(rng.integers(len(nuclei)))]
        angle, share = rng.uniform(0, 2 * np.pi), rng.choice([rng.uniform(0.1, 0.8), rng.uniform(0.85, 1.15)])
        x, y = host.x + share * host.radius * np.cos(angle), host.y + share * host.radius * np.sin(angle)
        for _ in range(int(rng.choice([1, 2, 4, 7], p=[0.4, 0.25, 0.2, 0.15]))):
            at = rng.normal((x, y), 0.12 * host.radius)
            piece = Disc(float(at[0]), float(at[1]), rng.uniform(0.8, max(1.5, 0.2 * host.radius)))
            if all(gap_between(piece, slot) > 2 for slot in slots):
                stamp(scene.debris, drawn_patch(rng, rng.uniform(0.2, 0.5)), piece, rng.uniform(0.4, 1.5), 0.0)

    def _bridge(self, scene: Scene, nuclei: list[Disc]) -> None:
        """A thin nucleoplasmic bridge between two main nuclei."""
        a, b = nuclei
        density, width = self.rng.uniform(0.4, 0.9), self.rng.uniform(1.0, 2.5)
        for t in np.linspace(0, 1, 60):
            stamp(
                layer=scene.chromatin,
                patch=drawn_patch(self.rng),
                place=Disc(a.x + t * (b.x - a.x), a.y + t * (b.y - a.y), width),
                density=density,
                turn=0.0,
                contrast=0.0,
            )

    def _cytoplasm(self, scene: Scene, nuclei: list[Disc], slots: list[Disc]) -> None:
        rng = self.rng
        margin = rng.uniform(0.08, 0.7)
        outline = cell_outline(rng, nuclei + slots, margin, rng.uniform(0.8, 4))
        level = float(
            rng.choice([rng.uniform(0.0, 0.12), rng.uniform(0.1, 0.35), rng.uniform(0.3, 0.6)], p=[0.25, 0.5, 0.25])
        )
        texture = 1 + rng.uniform(0.02, 0.25) * smooth_noise(rng, rng.uniform(1.5, 5))
        texture += rng.uniform(0.02, 0.25) * smooth_noise(rng, rng.uniform(12, 50))
        rim = ndimage.gaussian_filter(outline, rng.uniform(4, 12))
        texture *= 1 + rng.uniform(-0.6, 0.8) * (1 - rim)
        np.maximum(scene.cytoplasm, level * outline * texture.clip(0.1, 2.5), out=scene.cytoplasm)

    def _neighbours(self, scene: Scene, nuclei: list[Disc]) -> None:
        """Parts of up to three other cells (none with micronuclei) at the edge of the crop."""
        rng = self.rng
        for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.5, 0.27, 0.15, 0.08]))):
            radius = nuclei[0].radius * rng.uniform(0.8, 1.25)
            angle, distance = rng.uniform(0, 2 * np.pi), CANVAS * rng.uniform(0.42, 0.68)
            place = Disc(CANVAS / 2 + distance * np.cos(angle), CANVAS / 2 + distance * np.sin(angle), radius)
            if any(gap_between(place, own) < 0.5 * own.radius for own in nuclei):
                continue
            outline = cell_outline(rng, [place], rng.uniform(0.08, 0.5), rng.uniform(0.8, 4))
            np.maximum(scene.cytoplasm, rng.uniform(0.02, 0.45) * outline, out=scene.cytoplasm)
            stamp(
                layer=scene.chromatin,
                patch=self._nucleus(),
                place=place,
                density=rng.uniform(0.7, 1.2),
                turn=rng.uniform(0, 6.3),
                contrast=self.flatness,
            )

    def _surroundings(self, scene: Scene, nuclei: list[Disc]) -> None:
        """Platelets, round dark debris and precipitate, mostly outside the cell, in cells of either class."""
        rng = self.rng
        cell = scene.cytoplasm > 0.02
        for _ in range(int(rng.poisson(rng.choice([0.0, 1.2, 4.0], p=[0.4, 0.4, 0.2])))):
            x, y = rng.uniform(0, CANVAS, 2)
            near = any(np.hypot(x - n.x, y - n.y) < 1.9 * n.radius for n in nuclei)
            if cell[int(y), int(x)] or near:
                continue
            radius = nuclei[0].radius * np.exp(rng.uniform(np.log(0.08), np.log(0.5)))
            if rng.uniform() < 0.6:
                stamp(
                    scene.platelet,
                    self._platelet(),
                    Disc(x, y, radius),
                    rng.uniform(0.15, 0.9),
                    rng.uniform(0, 6.3),
                )
            else:
                rough = rng.choice([0.05, 0.3])
                stamp(
                    scene.debris,
                    drawn_patch(rng, rough),
                    Disc(x, y, min(radius, 9)),
                    rng.uniform(0.3, 1.6),
                    0.0,
                )
