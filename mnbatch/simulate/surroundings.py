"""What lies around a cell and over it: red cells, neighbours, debris, decoys.

All of it keeps off every place that a micronucleus could take, taken or not: it hides none and tells none.
"""

from __future__ import annotations

import numpy as np

from mnbatch.simulate.artefacts import ANYWHERE, DECOYS, OUTSIDE, choose, paint_red_cell
from mnbatch.simulate.look_parts import SlideLook
from mnbatch.simulate.painting import Brush, cell_brush, paint_cell, paint_nucleus
from mnbatch.simulate.plan import CellPlan, Kind, Room, plan_neighbour
from mnbatch.simulate.shapes import DIRECTIONS, FloatArray, Outline


def surround(
    layers: FloatArray,
    rng: np.random.Generator,
    plan: CellPlan,
    room: Room,
    slide: SlideLook,
    neighbours: int | None,
    names: set[str],
) -> None:
    """Red cells and neighbouring cells; they may touch the cell and never cover its places."""
    culture = slide.culture
    for _ in range(min(8, int(rng.poisson(culture.red_cells)))):
        x, y = rng.uniform(-0.1, 1.1, 2) * room.size
        if plan.cell.depth_at(x, y) < -0.25 * room.diameter:
            paint_red_cell(layers, rng, x, y, room.diameter, culture.ghosts, float(rng.uniform(0.5, 1.1)))
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
            _neighbour_mn(layers, rng, other, plan, brush, names)


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
    slide: SlideLook,
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
        name, painter = choose(rng, OUTSIDE if outside else ANYWHERE[slide.look])
        at = _free_spot(rng, plan, size, (-9.0, -0.5) if outside else (-9.0, 9.0))
        if at is not None:
            painter(layers, rng, at[0], at[1], d)
            names.update(("debris", name))
    for _ in range(min(3, drawn[1]) if wanted[1] is None else wanted[1]):
        name, painter = choose(rng, DECOYS[slide.look])
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
