"""Look-alikes as real slides have them, for training alone: `mnbatch simulate` draws none of them.

Stain precipitate in its real colours and shapes (angular, clustered; at the rim of a nucleus, over it, in the
cytoplasm, on the glass), platelets over and beside the cell, torn rims, granular cytoplasm, and buds, which are part
of a nucleus and no micronuclei (HUMN criteria, Fenech et al. 2003, doi 10.1016/S1383-5718(02)00249-8). In
fluorescence the same as light: angular shards, clusters of specks, buds. They are drawn in cells with and without
micronuclei by one law and keep off every place that a micronucleus could take, so that they hide none and tell none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mnbatch.simulate.cell_plan import CellPlan
from mnbatch.simulate.cell_shapes import ANGLES, FloatArray, Outline, blob
from mnbatch.simulate.painting import DARK, GRANULE, NUCLEUS, Brush, noise, paint_nucleus, speckle
from mnbatch.simulate.slide_appearance import Colour, SlideAppearance
from mnbatch.simulate.surroundings import paint_platelet

PRECIPITATES: tuple[Colour, ...] = (
    (1.0, 1.0, 1.0),  # neutral, black to grey
    (1.12, 0.85, 1.0),  # green-black
    (1.15, 1.0, 0.75),  # blue-black
    (0.8, 1.0, 1.15),  # brown-black
    (1.0, 1.1, 0.85),  # the simulator's usual, a little purple
)
"""Absorbance of stain precipitate in red, green and blue, relative to each other."""


def harder_slide(rng: np.random.Generator, slide: SlideAppearance) -> SlideAppearance:
    """A slide whose precipitate has its real colours and whose micronuclei may be small and pale."""
    culture = replace(
        slide.culture,
        mn_size=float(rng.uniform(0.11, 0.23)),
        mn_density=float(rng.uniform(0.6, 1.05)),
        granules=float(rng.uniform(0.0, 0.8)),
    )
    giemsa = slide.giemsa
    if giemsa is not None:
        tone = PRECIPITATES[int(rng.choice(len(PRECIPITATES), p=(0.4, 0.25, 0.13, 0.1, 0.12)))]
        parts = np.array(tone) * np.exp(rng.normal(0, 0.05, 3)) * rng.uniform(1.0, 3.0)
        giemsa = replace(giemsa, dark=(float(parts[0]), float(parts[1]), float(parts[2])))
    return replace(slide, culture=culture, giemsa=giemsa)


def shard(rng: np.random.Generator, x: float, y: float, radius: float) -> Outline:
    """A convex polygon with three to six unequal sides; `radius` is about that of the circle of equal area, px."""
    corners = int(rng.integers(3, 7))
    turns = (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) * 2 * np.pi / corners + rng.uniform(0, 2 * np.pi)
    distances = rng.uniform(0.55, 1.0, corners)
    radii = np.full(ANGLES.shape, np.inf)
    for turn, distance in zip(turns, distances, strict=True):
        facing = np.cos(ANGLES - turn)
        radii = np.minimum(radii, np.where(facing > 0.05, distance / np.maximum(facing, 0.05), np.inf))
    radii = np.minimum(radii, 2.2)
    radii *= radius / float(np.sqrt(np.mean(radii**2)))
    return Outline(x, y, np.maximum(radii, 0.4).astype(np.float32))


Spot = tuple[float, float]


def shards(
    layers: FloatArray, rng: np.random.Generator, plan: CellPlan, brush: Brush, slide: SlideAppearance, at: Spot
) -> None:
    """One to nine angular pieces, close together; sharp, and mostly denser than nuclei."""
    d, layer = plan.diameter, DARK if slide.giemsa is not None else NUCLEUS
    count = 1 if rng.random() < 0.45 else int(rng.integers(2, 10))
    largest = d * float(np.exp(rng.uniform(np.log(0.025), np.log(0.14))))
    for k in range(count):
        radius = max(0.7, largest * (1.0 if k == 0 else float(rng.uniform(0.2, 0.9))))
        near = at if k == 0 else (at[0] + rng.normal(0, 1.6) * largest, at[1] + rng.normal(0, 1.6) * largest)
        patch = shard(rng, *near, radius).patch(layers.shape[1], 2)
        if patch is not None:
            density = float(rng.uniform(0.35, 1.6))
            layers[layer][patch.box] += density * patch.cover(float(rng.uniform(0.7, 1.6)))


def specks(
    layers: FloatArray, rng: np.random.Generator, plan: CellPlan, brush: Brush, slide: SlideAppearance, at: Spot
) -> None:
    """A cluster of 4 to 25 fine specks, as wide as a micronucleus or a few times that."""
    d, layer = plan.diameter, DARK if slide.giemsa is not None else NUCLEUS
    spread = d * float(rng.uniform(0.03, 0.2))
    for _ in range(int(rng.integers(4, 26))):
        x, y = rng.normal(at, spread)
        radius = max(0.5, d * float(rng.uniform(0.006, 0.03)))
        patch = blob(rng, float(x), float(y), radius, aspect=rng.uniform(0.5, 1.0), roughness=0.2).patch(
            layers.shape[1]
        )
        if patch is not None:
            layers[layer][patch.box] += float(rng.uniform(0.25, 1.3)) * patch.cover(1.0)


def platelet(
    layers: FloatArray, rng: np.random.Generator, plan: CellPlan, brush: Brush, slide: SlideAppearance, at: Spot
) -> None:
    """One to three platelets."""
    for _ in range(int(rng.choice((1, 2, 3), p=(0.7, 0.2, 0.1)))):
        x, y = rng.normal(at, 0.1 * plan.diameter)
        paint_platelet(layers, rng, float(x), float(y), plan.diameter)


def torn_rim(
    layers: FloatArray, rng: np.random.Generator, plan: CellPlan, brush: Brush, slide: SlideAppearance, at: Spot
) -> None:
    """Ragged chromatin that hangs on a nucleus: flat, uneven, without an outline of its own."""
    radius = plan.diameter * float(rng.uniform(0.05, 0.16))
    shape = blob(rng, at[0], at[1], radius, aspect=rng.uniform(0.3, 0.7), roughness=rng.uniform(0.15, 0.3), last=12)
    patch = shape.patch(layers.shape[1], 0.4 * radius + 2)
    if patch is None:
        return
    holes = 0.6 + 0.5 * np.tanh(noise(rng, patch.shape, max(1.5, 0.4 * radius)))
    soft = patch.cover(max(1.0, radius * float(rng.uniform(0.1, 0.7))))
    layers[NUCLEUS][patch.box] += soft * holes * np.float32(brush.density * rng.uniform(0.3, 0.9))


def bud(
    layers: FloatArray, rng: np.random.Generator, plan: CellPlan, brush: Brush, slide: SlideAppearance, at: Spot
) -> None:
    """A round lobe of which a third and more lies within the nucleus: a bud, no micronucleus."""
    radius = plan.diameter * float(rng.uniform(0.06, 0.15))
    nucleus = min(plan.nuclei, key=lambda n: abs(n.depth_at(*at)))
    angle = float(np.arctan2(at[1] - nucleus.y, at[0] - nucleus.x)) % (2 * np.pi)
    edge = nucleus.at(angle)
    out = radius * float(rng.uniform(0.0, 0.4))
    body = blob(rng, edge[0] + out * np.cos(angle), edge[1] + out * np.sin(angle), radius, roughness=0.03)
    paint_nucleus(layers, rng, body, brush, float(rng.uniform(0.75, 1.05)))


def grains(
    layers: FloatArray, rng: np.random.Generator, plan: CellPlan, brush: Brush, slide: SlideAppearance, at: Spot
) -> None:
    """Granules over the whole cytoplasm."""
    patch = plan.cell.patch(layers.shape[1], 2)
    if patch is None:
        return
    fine = max(1.1, plan.diameter * float(rng.uniform(0.012, 0.05)))
    grain = speckle(rng, patch.shape, fine, float(rng.uniform(0.05, 0.35)))
    layers[GRANULE][patch.box] += grain * patch.cover(2.0) * np.float32(rng.uniform(0.1, 0.6))


Hard = Callable[[FloatArray, np.random.Generator, CellPlan, Brush, SlideAppearance, Spot], None]
Table = dict[str, tuple[Hard, float, tuple[float, float]]]
"""Painter, mean number a cell, and where: depth inside the nearest nucleus, in its diameters (negative: outside)."""

RIM, OVER, ANYWHERE = (-0.08, 0.05), (0.05, 0.5), (-9.0, 0.5)

STAINED: Table = {
    "shards_rim": (shards, 0.35, RIM),
    "shards_over": (shards, 0.2, OVER),
    "shards": (shards, 0.5, ANYWHERE),
    "specks": (specks, 0.25, ANYWHERE),
    "platelets": (platelet, 0.5, ANYWHERE),
    "torn_rim": (torn_rim, 0.2, RIM),
    "bud": (bud, 0.15, RIM),
    "granular": (grains, 0.2, ANYWHERE),
}
GLOWING: Table = {
    "shards_rim": (shards, 0.2, RIM),
    "shards": (shards, 0.35, ANYWHERE),
    "specks": (specks, 0.3, ANYWHERE),
    "torn_rim": (torn_rim, 0.2, RIM),
    "bud": (bud, 0.3, RIM),
    "granular": (grains, 0.1, ANYWHERE),
}


def add_hard_look_alikes(
    layers: FloatArray, rng: np.random.Generator, plan: CellPlan, brush: Brush, slide: SlideAppearance, names: set[str]
) -> None:
    """Draw what the tables say, off all places for micronuclei; a quarter of the cells is spared."""
    if rng.random() < 0.25:
        return
    for name, (painter, mean, band) in (STAINED if slide.giemsa is not None else GLOWING).items():
        for _ in range(min(3, int(rng.poisson(mean)))):
            at = _spot(rng, plan, layers.shape[1], band)
            if at is not None:
                painter(layers, rng, plan, brush, slide, at)
                names.update(("decoy", name))


def _spot(rng: np.random.Generator, plan: CellPlan, size: int, band: tuple[float, float]) -> Spot | None:
    """A random place within the band of depths, off all places for micronuclei."""
    d = plan.diameter
    xs, ys = rng.uniform(0, size, (2, 400)).astype(np.float32)
    depth = np.max([nucleus.depth(xs, ys)[0] for nucleus in plan.nuclei], axis=0) / d
    free = (depth > band[0]) & (depth < band[1])
    for place in plan.places:
        free &= np.hypot(xs - place.x, ys - place.y) > place.reach + 0.17 * d
    # Half of what may lie anywhere lies in the cytoplasm, where it is taken for a micronucleus.
    if band is ANYWHERE and rng.random() < 0.5:
        inside = free & (depth < 0) & (plan.cell.depth(xs, ys)[0] > 0)
        free = inside if inside.any() else free
    if not free.any():
        return None
    first = int(np.argmax(free))
    return float(xs[first]), float(ys[first])
