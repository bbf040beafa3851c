"""What is around a cell and over it, and what looks like a micronucleus and is none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mnbatch.assay.cells import Stain
from mnbatch.simulate.cell_plan import CellPlan, Kind, Room, plan_neighbour
from mnbatch.simulate.cell_shapes import DIRECTIONS, FloatArray, Outline, blob
from mnbatch.simulate.painting import (
    CYTOPLASM,
    DARK,
    GRANULE,
    NUCLEUS,
    RED,
    Brush,
    cell_brush,
    noise,
    paint_cell,
    paint_nucleus,
    paint_stroke,
    speckle,
)
from mnbatch.simulate.slide_appearance import SlideAppearance

# What is on a slide besides cells, and what looks like a micronucleus and is none.
#
# Each painter adds to the layers at a position; lengths are relative to the main nucleus's diameter `d` in px.


Painter = Callable[[FloatArray, np.random.Generator, float, float, float], None]


def paint_platelet(layers: FloatArray, rng: np.random.Generator, x: float, y: float, d: float) -> None:
    """Pink-purple, granular, ragged; a paler seam; 0.15 to 0.45 d across; often paler than nuclei."""
    radius = d * float(rng.uniform(0.07, 0.2))
    shape = blob(rng, x, y, radius, aspect=rng.uniform(0.55, 1.0), roughness=rng.uniform(0.03, 0.14), last=9)
    patch = shape.patch(layers.shape[1], 3 + 0.3 * radius)
    if patch is None:
        return
    grains = 0.55 + 0.45 * np.tanh(noise(rng, patch.shape, max(1.3, radius * rng.uniform(0.25, 0.6))))
    seam = patch.cover(max(1.5, 0.7 * radius))
    core = seam**2
    density = float(rng.uniform(0.35, 1.1))
    layers[GRANULE][patch.box] += density * core * grains + 0.15 * seam
    layers[CYTOPLASM][patch.box] += seam * np.float32(rng.uniform(0.0, 0.6))


def paint_platelet_clump(layers: FloatArray, rng: np.random.Generator, x: float, y: float, d: float) -> None:
    """Two to five platelets together."""
    for _ in range(int(rng.integers(2, 6))):
        paint_platelet(layers, rng, x + d * rng.normal(0, 0.16), y + d * rng.normal(0, 0.16), d * 0.8)


def paint_precipitate(layers: FloatArray, rng: np.random.Generator, x: float, y: float, d: float) -> None:
    """Stain precipitate: very dark, sharp specks, one to nine, of unequal size and irregular shape."""
    count = 1 + int(rng.integers(0, 9) * (rng.random() < 0.5))
    for _ in range(count):
        radius = max(0.6, d * float(np.exp(rng.normal(np.log(0.028), 0.45))))
        spread = 0.0 if count == 1 else d * 0.12
        at = x + rng.normal(0, 1) * spread, y + rng.normal(0, 1) * spread
        _speck(
            layers=layers,
            rng=rng,
            layer=DARK,
            at=at,
            radius=radius,
            density=float(rng.uniform(0.5, 1.4)),
            roughness=rng.uniform(0.05, 0.25),
        )


def paint_blot(layers: FloatArray, rng: np.random.Generator, x: float, y: float, d: float) -> None:
    """A drop of stain, as large as a micronucleus, very sharp; far darker than nuclei, or flat and paler."""
    radius = max(1.2, d * float(rng.uniform(0.04, 0.11)))
    dark = rng.random() < 0.7
    density = float(rng.uniform(0.8, 1.6) if dark else rng.uniform(0.2, 0.4))
    _speck(
        layers=layers,
        rng=rng,
        layer=DARK,
        at=(x, y),
        radius=radius,
        density=density,
        roughness=float(rng.uniform(0.02, 0.18)),
    )
    if rng.random() < 0.4:
        halo = blob(rng, x, y, radius * 1.6).patch(layers.shape[1], 2)
        if halo is not None:
            layers[DARK][halo.box] -= 0.1 * halo.cover(radius)


def paint_bacteria(layers: FloatArray, rng: np.random.Generator, x: float, y: float, d: float) -> None:
    """Rods or cocci, single, in pairs or chains."""
    half_width = max(0.5, d * float(rng.uniform(0.012, 0.025)))
    angle, density = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.4, 0.9))
    length = half_width * 2 * float(rng.uniform(0.6, 4.0))
    for _ in range(int(rng.integers(1, 6))):
        end = x + length * np.cos(angle), y + length * np.sin(angle)
        paint_stroke(layers[DARK], (x, y), end, half_width, density)
        x, y = end[0] + 3.0 * half_width * np.cos(angle), end[1] + 3.0 * half_width * np.sin(angle)
        angle += float(rng.normal(0, 0.7))


def paint_refractile(layers: FloatArray, rng: np.random.Generator, x: float, y: float, d: float) -> None:
    """Refractile debris: a bright middle within a dark, sharp ring."""
    radius = max(1.5, d * float(rng.uniform(0.04, 0.13)))
    shape = blob(rng, x, y, radius, aspect=rng.uniform(0.7, 1.0), roughness=0.05)
    patch = shape.patch(layers.shape[1], 0.4 * radius + 2)
    if patch is None:
        return
    ring = np.exp(-((patch.depth / (0.2 * radius + 0.6)) ** 2))
    layers[DARK][patch.box] += rng.uniform(0.2, 0.7) * ring - rng.uniform(0.05, 0.35) * patch.cover(radius)


def paint_smudge(layers: FloatArray, rng: np.random.Generator, x: float, y: float, d: float) -> None:
    """Dust out of focus or a film of protein: pale, without an edge."""
    radius = d * float(np.exp(rng.uniform(np.log(0.08), np.log(0.5))))
    shape = blob(rng, x, y, radius, aspect=rng.uniform(0.4, 1.0), roughness=0.15)
    patch = shape.patch(layers.shape[1], radius)
    if patch is None:
        return
    layer = (CYTOPLASM, GRANULE, DARK)[int(rng.integers(3))]
    strength = (0.9, 0.3, 0.12)[(CYTOPLASM, GRANULE, DARK).index(layer)] * float(rng.uniform(0.3, 1.0))
    uneven = 1.0 + 0.3 * noise(rng, patch.shape, max(2.0, 0.4 * radius))
    layers[layer][patch.box] += strength * np.clip(uneven, 0.2, 2.0) * patch.cover(2.0 * radius)


def paint_fibre(layers: FloatArray, rng: np.random.Generator, x: float, y: float, d: float) -> None:
    """A thread or a scratch, thin, through the picture."""
    angle, length = float(rng.uniform(0, 2 * np.pi)), d * float(rng.uniform(0.5, 3.0))
    end = x + length * np.cos(angle), y + length * np.sin(angle)
    layer = DARK if rng.random() < 0.5 else GRANULE
    paint_stroke(
        layer=layers[layer],
        start=(x, y),
        end=end,
        half_width=max(0.5, d * 0.012),
        density=rng.uniform(0.1, 0.5),
        bend=rng.normal(0, 0.12),
    )


def paint_fragments(layers: FloatArray, rng: np.random.Generator, x: float, y: float, d: float) -> None:
    """Chromatin of a broken cell: smeared or crumbled, irregular; never round and smooth."""
    radius = d * float(rng.uniform(0.08, 0.3))
    shape = blob(rng, x, y, radius, aspect=rng.uniform(0.3, 0.7), roughness=rng.uniform(0.15, 0.3), last=12)
    patch = shape.patch(layers.shape[1], 0.4 * radius + 2)
    if patch is None:
        return
    holes = 0.6 + 0.5 * np.tanh(noise(rng, patch.shape, max(1.5, 0.35 * radius)))
    soft = patch.cover(max(1.0, radius * float(rng.uniform(0.1, 0.8))))
    layers[NUCLEUS][patch.box] += soft * holes * np.float32(rng.uniform(0.25, 0.8))


def paint_free_body(layers: FloatArray, rng: np.random.Generator, x: float, y: float, d: float) -> None:
    """A smooth round body that has left its cell: like a micronucleus, but in nobody's cytoplasm."""
    radius = max(1.5, d * float(rng.uniform(0.05, 0.16)))
    patch = blob(rng, x, y, radius, aspect=rng.uniform(0.7, 1.0), roughness=0.04).patch(layers.shape[1], 3)
    if patch is None:
        return
    texture = 1.0 + 0.15 * noise(rng, patch.shape, max(1.5, 0.5 * radius))
    layers[NUCLEUS][patch.box] += patch.cover(1.5) * texture * np.float32(rng.uniform(0.4, 1.0))


def paint_grains(layers: FloatArray, rng: np.random.Generator, x: float, y: float, d: float) -> None:
    """A cluster of cytoplasmic granules."""
    radius = d * float(rng.uniform(0.1, 0.25))
    patch = blob(rng, x, y, radius, roughness=0.15).patch(layers.shape[1], 2)
    if patch is None:
        return
    grains = speckle(rng, patch.shape, max(1.2, d * rng.uniform(0.02, 0.05)), rng.uniform(0.15, 0.4))
    layers[GRANULE][patch.box] += grains * patch.cover(radius) * np.float32(rng.uniform(0.4, 1.1))


def paint_rimmed_vacuole(layers: FloatArray, rng: np.random.Generator, x: float, y: float, d: float) -> None:
    """A vacuole whose wall takes stain: pale inside, a thin ring around it."""
    radius = max(1.5, d * float(rng.uniform(0.05, 0.12)))
    patch = blob(rng, x, y, radius, roughness=0.03).patch(layers.shape[1], 3)
    if patch is None:
        return
    ring = np.exp(-((patch.depth / (0.12 * radius + 0.7)) ** 2))
    layers[CYTOPLASM][patch.box] *= 1.0 - 0.8 * patch.cover(1.5)
    layers[GRANULE][patch.box] += rng.uniform(0.15, 0.6) * ring


def paint_red_cell(
    layers: FloatArray, rng: np.random.Generator, x: float, y: float, d: float, ghost: bool, density: float
) -> None:
    """A red cell: a disc with a paler middle, or after lysis only its outline."""
    radius = d * float(rng.uniform(0.36, 0.55))
    shape = blob(rng, x, y, radius, aspect=rng.uniform(0.75, 1.0), roughness=0.03)
    patch = shape.patch(layers.shape[1], 4)
    if patch is None:
        return
    if ghost:
        ring = np.exp(-(((patch.depth - 1.0) / (0.04 * d + 0.8)) ** 2))
        layers[RED][patch.box] += density * (0.6 * ring + 0.12 * patch.cover(2.0))
        return
    pallor = rng.uniform(0.2, 0.9) * np.exp(-((patch.rho / rng.uniform(0.35, 0.6)) ** 2))
    layers[RED][patch.box] += density * patch.cover(max(1.5, 0.05 * d)) * (1.0 - pallor)


def _speck(
    layers: FloatArray,
    rng: np.random.Generator,
    layer: int,
    at: tuple[float, float],
    radius: float,
    density: float,
    roughness: float,
) -> None:
    shape = blob(rng, at[0], at[1], radius, aspect=rng.uniform(0.6, 1.0), roughness=roughness, last=6)
    patch = shape.patch(layers.shape[1], 2)
    if patch is not None:
        layers[layer][patch.box] += density * patch.cover(1.0)


Table = dict[str, tuple[Painter, float]]
"""Painters by name, with their weights."""

ANYWHERE: dict[Stain, Table] = {
    "giemsa": {
        "platelet": (paint_platelet, 0.3),
        "platelet_clump": (paint_platelet_clump, 0.08),
        "precipitate": (paint_precipitate, 0.22),
        "bacteria": (paint_bacteria, 0.08),
        "refractile": (paint_refractile, 0.1),
        "smudge": (paint_smudge, 0.14),
        "fibre": (paint_fibre, 0.08),
    },
    "fluorescence": {
        "speck": (paint_precipitate, 0.35),
        "platelet": (paint_platelet, 0.1),
        "bacteria": (paint_bacteria, 0.15),
        "smudge": (paint_smudge, 0.25),
        "fibre": (paint_fibre, 0.15),
    },
}
"""Debris that may lie anywhere."""

OUTSIDE: Table = {"fragments": (paint_fragments, 0.7), "free_body": (paint_free_body, 0.3)}
"""Debris with chromatin in it: only outside the cell, where a reader would not count it."""

DECOYS: dict[Stain, Table] = {
    "giemsa": {
        "platelet": (paint_platelet, 0.42),
        "blot": (paint_blot, 0.2),
        "precipitate": (paint_precipitate, 0.12),
        "grains": (paint_grains, 0.08),
        "rimmed_vacuole": (paint_rimmed_vacuole, 0.08),
        "refractile": (paint_refractile, 0.05),
        "smudge": (paint_smudge, 0.05),
    },
    "fluorescence": {
        "speck": (paint_precipitate, 0.4),
        "bacteria": (paint_bacteria, 0.15),
        "smudge": (paint_smudge, 0.25),
        "platelet": (paint_platelet, 0.2),
    },
}
"""Things over or beside the cytoplasm that are taken for micronuclei."""


def choose(rng: np.random.Generator, among: Table) -> tuple[str, Painter]:
    """One of a table by weight."""
    names = list(among)
    weights = np.array([among[name][1] for name in names])
    name = names[int(rng.choice(len(names), p=weights / weights.sum()))]
    return name, among[name][0]


# What lies around a cell and over it: red cells, neighbours, debris, decoys.
#
# All of it keeps off every place that a micronucleus could take, taken or not: it hides none and tells none.


def surround(
    layers: FloatArray,
    rng: np.random.Generator,
    plan: CellPlan,
    room: Room,
    slide: SlideAppearance,
    neighbours: int | None,
    names: set[str],
) -> None:
    """Red cells and neighbouring cells; they may touch the cell and never cover its places."""
    culture = slide.culture
    for _ in range(min(8, int(rng.poisson(culture.red_cells)))):
        x, y = rng.uniform(-0.1, 1.1, 2) * room.size
        if plan.cell.depth_at(x, y) < -0.25 * room.diameter:
            paint_red_cell(
                layers=layers,
                rng=rng,
                x=x,
                y=y,
                d=room.diameter,
                ghost=culture.ghosts,
                density=float(rng.uniform(0.5, 1.1)),
            )
            names.add("ghost" if culture.ghosts else "red_cell")
    drawn = int(rng.poisson(culture.neighbours))
    for _ in range(min(4, drawn) if neighbours is None else neighbours):
        kind: Kind = "binucleated" if rng.random() < 0.45 else "mononucleated"
        other = plan_neighbour(rng, kind, room, culture, plan.cell)
        if any(_over(other.cell, place) for place in plan.places):
            continue
        brush = cell_brush(rng, culture, room.diameter, bool(rng.random() < 0.15))
        paint_cell(layers, rng, other, brush)
        names.add("neighbour")
        if _touch(plan.cell, other.cell):
            names.add("touching")
        if rng.random() < 0.02:
            _neighbour_mn(layers=layers, rng=rng, other=other, plan=plan, brush=brush, names=names)


def _neighbour_mn(
    layers: FloatArray,
    rng: np.random.Generator,
    other: CellPlan,
    plan: CellPlan,
    brush: Brush,
    names: set[str],
) -> None:
    """Now and then a neighbour has a micronucleus of its own; it is no truth of this crop, and recorded."""
    x, y = other.cell.at(float(rng.uniform(0, 2 * np.pi)), 0.8)
    radius = 0.09 * brush.diameter
    body = Outline(x, y, np.full(DIRECTIONS, radius, dtype=np.float32))
    clear = plan.cell.depth_at(x, y) < -2 * radius
    if clear and all(n.depth_at(x, y) < -radius for n in other.nuclei):
        paint_nucleus(layers, rng, body, brush, 0.9)
        names.add("neighbour_mn")


def _over(cell: Outline, place: Outline) -> bool:
    return cell.depth_at(place.x, place.y) > -place.reach - 1.0


def _touch(one: Outline, other: Outline) -> bool:
    """Whether two outlines meet or overlap (checked on every tenth edge point of the other)."""
    angles = np.linspace(0, 2 * np.pi, other.radii.size, endpoint=False)[::10]
    xs = (other.x + other.radii[::10] * np.cos(angles)).astype(np.float32)
    ys = (other.y + other.radii[::10] * np.sin(angles)).astype(np.float32)
    return bool((one.depth(xs, ys)[0] > -1.5).any())


def scatter(
    layers: FloatArray,
    rng: np.random.Generator,
    plan: CellPlan,
    slide: SlideAppearance,
    wanted: tuple[int | None, int | None],
    names: set[str],
) -> None:
    """Debris anywhere and decoys over or beside the cytoplasm, off all places for micronuclei.

    Args:
        wanted: numbers of debris and of decoys; None draws them from the slide's means.
    """
    drawn = int(rng.poisson(slide.culture.debris)), int(rng.poisson(slide.culture.decoys))
    d, size = plan.diameter, layers.shape[1]
    for _ in range(min(8, drawn[0]) if wanted[0] is None else wanted[0]):
        outside = rng.random() < 0.12
        name, painter = choose(rng, OUTSIDE if outside else ANYWHERE[slide.stain])
        at = _free_spot(rng, plan, size, (-9.0, -0.5) if outside else (-9.0, 9.0))
        if at is not None:
            painter(layers, rng, at[0], at[1], d)
            names.update(("debris", name))
    for _ in range(min(3, drawn[1]) if wanted[1] is None else wanted[1]):
        name, painter = choose(rng, DECOYS[slide.stain])
        at = _free_spot(rng, plan, size, (-0.15, 9.0), off_nuclei=True)
        if at is not None:
            painter(layers, rng, at[0], at[1], d)
            names.update(("decoy", name))


def _free_spot(
    rng: np.random.Generator, plan: CellPlan, size: int, band: tuple[float, float], off_nuclei: bool = False
) -> tuple[float, float] | None:
    """A random position that keeps off all places for micronuclei, whether they are taken or not.

    Args:
        band: allowed depth inside the cell, relative to d (negative: outside).
        off_nuclei: keep the centre off the main nuclei.
    """
    xs, ys = rng.uniform(0, size, (2, 60)).astype(np.float32)
    depth = plan.cell.depth(xs, ys)[0] / plan.diameter
    free = (depth > band[0]) & (depth < band[1])
    for place in plan.places:
        free &= np.hypot(xs - place.x, ys - place.y) > place.reach + 0.28 * plan.diameter
    for nucleus in plan.nuclei if off_nuclei else ():
        free &= nucleus.depth(xs, ys)[0] < 0
    if not free.any():
        return None
    first = int(np.argmax(free))
    return float(xs[first]), float(ys[first])
