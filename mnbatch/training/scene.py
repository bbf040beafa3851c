"""What lies in a composite cell: nuclei, cytoplasm, micronuclei and look-alikes, as layers of stain density.

A cell with and a cell without micronuclei are drawn by the same law, look-alikes, debris and the shape of the
cytoplasm included; the only difference is the micronuclei themselves. A platelet or a stain speck breaks at least one
of the criteria of a micronucleus: its stain, its outline, its size, or its place in the cell.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from mnbatch.training.bodies import (
    CANVAS,
    Disc,
    cell_outline,
    drawn_patch,
    gap_between,
    place_nuclei,
    place_slot,
    smooth_noise,
    stamp,
)
from mnbatch.training.patches import FloatArray, Patch, PatchLibrary


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
                scene.chromatin,
                self._nucleus(),
                disc,
                rng.normal(1, 0.06),
                rng.uniform(0, 6.3),
                self.flatness,
            )
        if len(nuclei) == 2 and rng.uniform() < 0.08:
            self._bridge(scene, nuclei)
        for index, slot in enumerate(slots):
            if index < n_mn:
                self._micronucleus(scene, slot)
            else:
                self._lookalike(scene, slot)
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
        stamp(scene.chromatin, patch, slot, rng.uniform(0.62, 1.08), rng.uniform(0, 6.3), 0.6 * self.flatness)
        scene.n_mn += 1

    def _lookalike(self, scene: Scene, slot: Disc) -> None:
        """In a micronucleus's place: pale platelet, ragged precipitate, vacuole, granules, speck."""
        rng = self.rng
        kind = rng.choice(["platelet", "crumb", "vacuole", "granules", "speck"], p=[0.42, 0.14, 0.12, 0.14, 0.18])
        if kind == "platelet":
            stamp(scene.platelet, self._platelet(), slot, rng.uniform(0.15, 0.6), rng.uniform(0, 6.3))
        elif kind == "crumb":
            crumb = Disc(slot.x, slot.y, min(slot.radius, 8))
            stamp(scene.debris, drawn_patch(rng, rng.uniform(0.3, 0.5)), crumb, rng.uniform(0.6, 1.7), 0.0)
        elif kind == "vacuole":
            hole = np.zeros_like(scene.cytoplasm)
            stamp(hole, drawn_patch(rng), slot, rng.uniform(0.4, 1.0), 0.0, 0.0)
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

    def _bridge(self, scene: Scene, nuclei: list[Disc]) -> None:
        """A thin nucleoplasmic bridge between two main nuclei."""
        a, b = nuclei
        density, width = self.rng.uniform(0.4, 0.9), self.rng.uniform(1.0, 2.5)
        for t in np.linspace(0, 1, 60):
            stamp(
                scene.chromatin,
                drawn_patch(self.rng),
                Disc(a.x + t * (b.x - a.x), a.y + t * (b.y - a.y), width),
                density,
                0.0,
                0.0,
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
                scene.chromatin,
                self._nucleus(),
                place,
                rng.uniform(0.7, 1.2),
                rng.uniform(0, 6.3),
                self.flatness,
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
