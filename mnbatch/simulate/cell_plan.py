"""Where the parts of a cell lie, before anything is painted.

A cell is planned with places for micronuclei whether or not it will have any, so that its shape, its room and
the debris around it say nothing about the number of micronuclei.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mnbatch.simulate.cell_shapes import BoolArray, FloatArray, Outline, blob, bump, envelope, wobble
from mnbatch.simulate.slide_appearance import CultureAppearance

Kind = Literal["binucleated", "mononucleated", "multinucleated", "apoptotic"]

MAX_MN = 4
_TRIES = 12
_CANDIDATES = 160


@dataclass(frozen=True, slots=True, eq=False)
class CellPlan:
    """Outlines of one cell in native px.

    Attributes:
        diameter: d, of a main nucleus, px.
        nuclei: main nuclei (fragments for an apoptotic cell).
        buds: lobes that are part of a nucleus.
        bridge: band between two nuclei: ends and width, or None.
        cell: outline of the cytoplasm.
        places: MAX_MN places for micronuclei, taken in this order.
    """

    diameter: float
    kind: Kind
    nuclei: tuple[Outline, ...]
    buds: tuple[Outline, ...]
    bridge: tuple[float, float, float, float, float] | None
    cell: Outline
    places: tuple[Outline, ...]


@dataclass(frozen=True, slots=True)
class Room:
    """What a plan has to fit into.

    Attributes:
        size: width of the picture, native px.
        diameter: of a main nucleus, native px.
        smallest_mn: smallest diameter of a micronucleus that stays visible, native px.
    """

    size: int
    diameter: float
    smallest_mn: float


def plan_cell(
    rng: np.random.Generator, kind: Kind, room: Room, culture: CultureAppearance, x: float, y: float
) -> CellPlan | None:
    """Plan a cell around (x, y); None when no arrangement with all places was found (rare)."""
    for attempt in range(_TRIES):
        margin = culture.margin * (1.0 + 0.12 * attempt)
        nuclei = _nuclei(rng=rng, kind=kind, d=room.diameter, culture=culture, x=x, y=y)
        if not _inside(nuclei, room) and attempt < _TRIES - 1:
            continue
        cell = _cytoplasm(rng, nuclei, room.diameter, margin, culture)
        places = _places(rng, nuclei, cell, room, culture)
        if places is not None:
            buds, bridge = _hard_cases(rng, kind, nuclei, room.diameter)
            if buds and any(_close(bud, place) for bud in buds for place in places):
                buds = ()
            return CellPlan(
                diameter=room.diameter, kind=kind, nuclei=nuclei, buds=buds, bridge=bridge, cell=cell, places=places
            )
    return None


def plan_neighbour(
    rng: np.random.Generator, kind: Kind, room: Room, culture: CultureAppearance, away_from: Outline
) -> CellPlan:
    """Plan a cell that touches or nearly touches another, mostly outside the picture; it needs no places."""
    d = room.diameter
    nuclei = _nuclei(rng=rng, kind=kind, d=d, culture=culture, x=0.0, y=0.0)
    cell = _cytoplasm(rng, nuclei, d, culture.margin, culture)
    angle = float(rng.uniform(0, 2 * np.pi))
    edge_x, edge_y = away_from.at(angle)
    to_border = _border_distance(away_from.x, away_from.y, angle, room.size)
    reach = float(np.hypot(edge_x - away_from.x, edge_y - away_from.y)) + cell.mean_radius * rng.uniform(0.93, 1.15)
    distance = max(reach, to_border - d * rng.uniform(0.0, 0.6))
    dx, dy = away_from.x + distance * np.cos(angle), away_from.y + distance * np.sin(angle)
    nuclei = tuple(n.moved(dx, dy) for n in nuclei)
    return CellPlan(diameter=d, kind=kind, nuclei=nuclei, buds=(), bridge=None, cell=cell.moved(dx, dy), places=())


def _border_distance(x: float, y: float, angle: float, size: int) -> float:
    steps = []
    for position, direction in ((x, np.cos(angle)), (y, np.sin(angle))):
        if abs(direction) > 1e-6:
            steps.append(((size if direction > 0 else 0) - position) / direction)
    return float(min(steps))


def _nuclei(
    rng: np.random.Generator, kind: Kind, d: float, culture: CultureAppearance, x: float, y: float
) -> tuple[Outline, ...]:
    if kind == "mononucleated":
        return (_nucleus(rng=rng, x=x, y=y, radius=d / 2, culture=culture, partner=None),)
    if kind == "apoptotic":
        return _fragments(rng, d, x, y)
    angle = float(rng.uniform(0, 2 * np.pi))
    if kind == "multinucleated":
        count = int(rng.integers(3, 5))
        ring = d * rng.uniform(0.55, 0.75)
        turns = angle + 2 * np.pi * np.arange(count) / count + rng.normal(0, 0.15, count)
        return tuple(
            _nucleus(
                rng=rng, x=x + ring * np.cos(t), y=y + ring * np.sin(t), radius=d * 0.45, culture=culture, partner=None
            )
            for t in turns
        )
    first = d / 2 * float(np.exp(rng.normal(0, 0.05)))
    second = first * float(np.exp(rng.normal(0, 0.07)))
    gap = (culture.gap + rng.normal(0, 0.13)) * d
    # Main nuclei of a binucleated cell lie close; more than a third overlapped would read as one nucleus.
    half = max((first + second + gap) / 2, 0.66 * (first + second) / 2)
    shift = rng.normal(0, 0.06, 2) * d
    ends = (
        (x - half * np.cos(angle), y - half * np.sin(angle)),
        (x + half * np.cos(angle), y + half * np.sin(angle)),
    )
    return (
        _nucleus(rng=rng, x=ends[0][0] + shift[0], y=ends[0][1], radius=first, culture=culture, partner=angle),
        _nucleus(rng=rng, x=ends[1][0], y=ends[1][1] + shift[1], radius=second, culture=culture, partner=angle + np.pi),
    )


def _inside(nuclei: tuple[Outline, ...], room: Room) -> bool:
    """Whether the nuclei lie within the crop, as scanners centre them; a tenth of them may be cut."""
    low, high = -0.1 * room.diameter, room.size - 1 + 0.1 * room.diameter
    return all(min(n.x, n.y) - n.mean_radius > low and max(n.x, n.y) + n.mean_radius < high for n in nuclei)


def _nucleus(
    rng: np.random.Generator, x: float, y: float, radius: float, culture: CultureAppearance, partner: float | None
) -> Outline:
    """A nucleus; `partner` is the direction of its sister, towards which it is often flattened or notched."""
    aspect = float(np.clip(rng.normal(0.87, 0.08), 0.62, 1.0))
    long_axis = None if partner is None or rng.random() < 0.4 else partner + np.pi / 2 + rng.normal(0, 0.3)
    shape = blob(rng, x, y, radius, aspect=aspect, angle=long_axis, roughness=culture.roughness)
    radii = shape.radii
    if partner is not None and rng.random() < 0.5:
        radii = radii * (1 - rng.uniform(0.03, 0.16) * bump(partner, 0.5))
    if rng.random() < 0.12:
        radii = radii * (1 - rng.uniform(0.1, 0.32) * bump(rng.uniform(0, 2 * np.pi), rng.uniform(0.12, 0.3)))
    return Outline(x, y, radii.astype(np.float32))


def _fragments(rng: np.random.Generator, d: float, x: float, y: float) -> tuple[Outline, ...]:
    """Dense round bodies of different sizes, as an apoptotic cell leaves them."""
    parts: list[Outline] = []
    for _ in range(int(rng.integers(4, 10))):
        angle, distance = rng.uniform(0, 2 * np.pi), d * 0.55 * np.sqrt(rng.random())
        radius = d * rng.uniform(0.08, 0.28)
        parts.append(blob(rng, x + distance * np.cos(angle), y + distance * np.sin(angle), radius, roughness=0.04))
    return tuple(parts)


def _cytoplasm(
    rng: np.random.Generator, nuclei: tuple[Outline, ...], d: float, margin: float, culture: CultureAppearance
) -> Outline:
    mean = margin * float(np.exp(rng.normal(0, 0.22)))
    uneven = np.exp(wobble(rng, 0.3, 1, 5))
    extra = (d * mean * uneven).astype(np.float32)
    roundness = float(np.clip(culture.roundness + rng.normal(0, 0.15), 0.0, 0.95))
    cell = envelope(nuclei, extra, roundness)
    radii = cell.radii * np.exp(
        wobble(rng, culture.ruffles * 0.6, 3, 9) + wobble(rng, culture.ruffles * 0.35, 8, 30, 0.7)
    )
    if rng.random() < 0.12:
        radii = radii + d * rng.uniform(0.05, 0.22) * bump(rng.uniform(0, 2 * np.pi), rng.uniform(0.08, 0.3))
    return Outline(cell.x, cell.y, radii.astype(np.float32))


def _places(
    rng: np.random.Generator, nuclei: tuple[Outline, ...], cell: Outline, room: Room, culture: CultureAppearance
) -> tuple[Outline, ...] | None:
    taken: list[Outline] = []
    for _ in range(MAX_MN):
        wanted = room.diameter * culture.mn_size * float(np.exp(rng.normal(0, 0.33)))
        place = None
        for shrink in (1.0, 0.8, 0.62, 0.48, 0.36):
            diameter = float(np.clip(wanted * shrink, room.smallest_mn, room.diameter / 3))
            place = _place(rng=rng, radius=diameter / 2, nuclei=nuclei, cell=cell, taken=taken, size=room.size)
            if place is not None:
                break
        if place is None:
            return None
        taken.append(place)
    return tuple(taken)


def _place(
    rng: np.random.Generator,
    radius: float,
    nuclei: tuple[Outline, ...],
    cell: Outline,
    taken: list[Outline],
    size: int,
) -> Outline | None:
    """A round to oval body in the cytoplasm: inside the cell and the picture, at most touching the nuclei."""
    reach = cell.reach
    xs = (cell.x + rng.uniform(-reach, reach, _CANDIDATES)).astype(np.float32)
    ys = (cell.y + rng.uniform(-reach, reach, _CANDIDATES)).astype(np.float32)
    overlap = float(rng.uniform(0.7, 1.3))
    fits = _fits(xs=xs, ys=ys, radius=radius, overlap=overlap, nuclei=nuclei, cell=cell, taken=taken, size=size)
    if not fits.any():
        return None
    first = int(np.argmax(fits))
    aspect = float(np.clip(rng.normal(0.9, 0.08), 0.65, 1.0))
    return blob(rng, float(xs[first]), float(ys[first]), radius, aspect=aspect, roughness=0.025, last=4)


def _fits(
    xs: FloatArray,
    ys: FloatArray,
    radius: float,
    overlap: float,
    nuclei: tuple[Outline, ...],
    cell: Outline,
    taken: list[Outline],
    size: int,
) -> BoolArray:
    rim = radius + 2.0
    fits = (xs > rim) & (ys > rim) & (xs < size - 1 - rim) & (ys < size - 1 - rim)
    fits &= cell.depth(xs, ys)[0] > 0.85 * radius
    for nucleus in nuclei:
        fits &= nucleus.depth(xs, ys)[0] < -overlap * radius
    for other in taken:
        fits &= np.hypot(xs - other.x, ys - other.y) > other.reach + 1.35 * radius
    return np.asarray(fits)


def _hard_cases(
    rng: np.random.Generator, kind: Kind, nuclei: tuple[Outline, ...], d: float
) -> tuple[tuple[Outline, ...], tuple[float, float, float, float, float] | None]:
    """Nuclear buds (6 % of cells) and nucleoplasmic bridges (4 %), which are no micronuclei."""
    buds: tuple[Outline, ...] = ()
    bridge = None
    if kind != "apoptotic" and rng.random() < 0.06:
        nucleus = nuclei[int(rng.integers(len(nuclei)))]
        radius = d * rng.uniform(0.06, 0.13)
        angle = float(rng.uniform(0, 2 * np.pi))
        edge_x, edge_y = nucleus.at(angle)
        # The centre lies just outside the edge: at least a third of the bud stays merged with the nucleus.
        out = radius * rng.uniform(0.0, 0.4)
        buds = (blob(rng, edge_x + out * np.cos(angle), edge_y + out * np.sin(angle), radius, roughness=0.03),)
    if kind == "binucleated" and rng.random() < 0.04:
        a, b = nuclei[0], nuclei[1]
        bridge = (a.x, a.y, b.x, b.y, d * float(rng.uniform(0.04, 0.12)))
    return buds, bridge


def _close(one: Outline, other: Outline) -> bool:
    return float(np.hypot(one.x - other.x, one.y - other.y)) < one.reach + other.reach + 1.0
