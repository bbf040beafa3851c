"""The cells of a field or a whole slide, where they are, and what is between them; no pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from mnbatch.simulate.cell_plan import MAX_MN, CellPlan
from mnbatch.simulate.cell_shapes import DIRECTIONS, FloatArray
from mnbatch.simulate.fields.cell_stamps import CellOrder, FocusMap, SmoothField, Stamp, find_attempt, trimmed
from mnbatch.simulate.fields.field_plan import CLASSES, CellClass, FieldPlan
from mnbatch.simulate.fields.haze import HazySlide
from mnbatch.simulate.painting import empty_layers
from mnbatch.simulate.slide_appearance import SlideAppearance
from mnbatch.simulate.surroundings import ANYWHERE, OUTSIDE, Painter, choose, paint_red_cell

# The cells of a field or a whole slide and where they lie: some hundred bytes a cell, no pixels.


_EDGE = 48
_STEP = DIRECTIONS // _EDGE
_TURN: FloatArray = np.linspace(0, 2 * np.pi, _EDGE, endpoint=False, dtype=np.float32)
_COS, _SIN = np.cos(_TURN), np.sin(_TURN)

Circle = tuple[float, float, float]
"""x, y, radius in px."""

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in px; right and bottom are beyond the last pixel."""


@dataclass(slots=True, eq=False)
class PlacedCell:
    """A cell on the slide; positions in px of the slide, radii in px.

    Attributes:
        order: what it looks like; left, top: where the frame of its stamp begins.
        x, y, radii: centre and outline of the cell body in 48 directions; reach: the largest radius.
        nuclei: main nuclei (fragments of an apoptotic cell); micronuclei: those it has.
        places: where micronuclei lie or could lie, with their reach; debris keeps off them.
        overlap: how deep it lies in another cell at most, in diameters of a nucleus; negative: the gap.
    """

    order: CellOrder
    left: int
    top: int
    x: float
    y: float
    radii: FloatArray
    reach: float
    nuclei: tuple[Circle, ...]
    micronuclei: tuple[Circle, ...]
    places: tuple[Circle, ...]
    overlap: float = -1.0

    @classmethod
    def of(cls, order: CellOrder, plan: CellPlan) -> PlacedCell:
        """A planned cell, with the frame of its stamp at the slide's corner."""
        return cls(
            order,
            0,
            0,
            plan.cell.x,
            plan.cell.y,
            plan.cell.radii[::_STEP].copy(),
            plan.cell.reach,
            tuple((n.x, n.y, n.mean_radius) for n in plan.nuclei),
            tuple((p.x, p.y, p.mean_radius) for p in plan.places[: order.n_mn]),
            tuple((p.x, p.y, p.reach) for p in plan.places),
        )

    def move_to(self, x: float, y: float) -> None:
        """Put the centre of the cell body at (x, y), to the nearest whole pixel of the frame."""
        dx, dy = round(x - self.x), round(y - self.y)
        self.left, self.top, self.x, self.y = self.left + dx, self.top + dy, self.x + dx, self.y + dy
        self.nuclei = tuple((cx + dx, cy + dy, r) for cx, cy, r in self.nuclei)
        self.micronuclei = tuple((cx + dx, cy + dy, r) for cx, cy, r in self.micronuclei)
        self.places = tuple((cx + dx, cy + dy, r) for cx, cy, r in self.places)

    def depth(self, xs: FloatArray, ys: FloatArray) -> FloatArray:
        """How far points lie inside the outline, px along the radius; negative outside."""
        dx, dy = xs - self.x, ys - self.y
        index = np.rint(np.arctan2(dy, dx) * (_EDGE / (2 * np.pi))).astype(np.int64) % _EDGE
        return np.asarray(self.radii[index] - np.hypot(dx, dy), dtype=np.float32)

    def depth_in(self, other: PlacedCell) -> float:
        """How deep the outlines lie in each other, px; negative: about the gap."""
        mine, theirs = self._edge(), other._edge()
        return float(max(other.depth(*mine).max(), self.depth(*theirs).max()))

    def _edge(self) -> tuple[FloatArray, FloatArray]:
        return self.x + self.radii * _COS, self.y + self.radii * _SIN

    @property
    def box(self) -> Box:
        """Bounding box of the cell body, px; it may reach beyond the slide."""
        xs, ys = self._edge()
        return int(np.floor(xs.min())), int(np.floor(ys.min())), int(np.ceil(xs.max())) + 1, int(np.ceil(ys.max())) + 1


@dataclass(slots=True)
class Scene:
    """The cells of one field or whole slide of width x height px, found by position.

    Attributes:
        diameter: of the slide's main nuclei, px.
    """

    width: int
    height: int
    diameter: float
    cells: list[PlacedCell] = field(default_factory=list)
    _bins: dict[tuple[int, int], list[PlacedCell]] = field(default_factory=dict)

    def add(self, cell: PlacedCell) -> None:
        """Put a placed cell into the scene."""
        self.cells.append(cell)
        self._bins.setdefault(self._bin(cell.x, cell.y), []).append(cell)

    def near(self, x: float, y: float, reach: float) -> list[PlacedCell]:
        """Cells whose body comes within `reach` px of a point, in order of their placing."""
        around = self._within((x - reach, y - reach, x + reach, y + reach))
        return [c for c in around if np.hypot(c.x - x, c.y - y) < reach + c.reach]

    def within(self, box: Box) -> list[PlacedCell]:
        """Cells whose stamps may reach into a window; always in the same order, that of their placing."""
        return sorted(self._within(box), key=lambda c: c.order.key)

    def _within(self, box: tuple[float, float, float, float]) -> Iterator[PlacedCell]:
        # A stamp reaches at most two and a half diameters beyond the bin of its cell's centre.
        first, last = self._bin(box[0], box[1]), self._bin(box[2], box[3])
        for column in range(first[0] - 1, last[0] + 2):
            for row in range(first[1] - 1, last[1] + 2):
                yield from self._bins.get((column, row), ())

    def _bin(self, x: float, y: float) -> tuple[int, int]:
        side = 4.0 * self.diameter
        return int(np.floor(x / side)), int(np.floor(y / side))


# Debris and red cells between and over the cells, laid out block by block so that nothing of it is kept.


BLOCK = 512
_HALF_IN_D = 1.3
_LONG_HALF_IN_D = 3.3
_LONG = ("fibre",)

REACH_IN_D = _LONG_HALF_IN_D
"""How far a piece reaches from its position, diameters of a nucleus."""


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A piece of debris, not yet painted; position and half the width of its stamp, px.

    Attributes:
        seed: of its random stream.
    """

    painter: Painter
    seed: int
    x: float
    y: float
    half: int

    def reaches(self, box: Box) -> bool:
        """Whether any of it may lie in a window."""
        across = box[0] - self.half <= self.x < box[2] + self.half
        return across and box[1] - self.half <= self.y < box[3] + self.half


@dataclass(frozen=True, slots=True)
class Litter:
    """All debris of a field or slide.

    Attributes:
        key: of the random streams.
        debris: amount of it, relative to crops.
    """

    key: tuple[int, ...]
    scene: Scene
    slide: SlideAppearance
    conditions: FieldConditions
    debris: float = 1.0

    def block(self, column: int, row: int) -> list[Piece]:
        """Pieces whose position lies in one block of 512 x 512 px; always the same.

        Numbers are those of the crops by area: `CultureAppearance` counts a crop of 1 / nucleus_fraction diameters.
        """
        # Blocks left of and above the slide exist too: debris reaches in from there.
        rng = np.random.default_rng([*self.key, 4, column + 9, row + 9])
        culture, d = self.slide.culture, self.scene.diameter
        crops = (BLOCK * culture.nucleus_fraction / d) ** 2
        pieces: list[Piece] = []
        for _ in range(int(rng.poisson(culture.red_cells * crops))):
            pieces += self._red_cell(rng, *_position(rng, column, row))
        for _ in range(int(rng.poisson(self.debris * culture.debris * crops))):
            pieces += self._debris(rng, *_position(rng, column, row))
        return pieces

    def paint(self, piece: Piece) -> Stamp:
        """Paint a piece, out of focus where the slide is; the stamp's place is that on the slide."""
        left, top = int(np.floor(piece.x)) - piece.half, int(np.floor(piece.y)) - piece.half
        layers = empty_layers(2 * piece.half + 1)
        rng = np.random.default_rng([*self.key, 8, piece.seed])
        piece.painter(layers, rng, piece.x - left, piece.y - top, self.scene.diameter)
        blurred = self.conditions.focus.blurred(piece.x, piece.y)
        stamp = trimmed(layers, self.conditions.blur if blurred else 0.0)
        return Stamp(stamp.layers, left + stamp.left, top + stamp.top)

    def _red_cell(self, rng: np.random.Generator, x: float, y: float) -> list[Piece]:
        d, seed = self.scene.diameter, int(rng.integers(2**62))
        if self._depth(x, y, d) > -0.25 * d:
            return []
        return [Piece(self._paint_red_cell, seed, x, y, int(np.ceil(_HALF_IN_D * d)))]

    def _paint_red_cell(self, layers: FloatArray, rng: np.random.Generator, x: float, y: float, d: float) -> None:
        paint_red_cell(
            layers=layers, rng=rng, x=x, y=y, d=d, ghost=self.slide.culture.ghosts, density=float(rng.uniform(0.5, 1.1))
        )

    def _debris(self, rng: np.random.Generator, x: float, y: float) -> list[Piece]:
        d, seed = self.scene.diameter, int(rng.integers(2**62))
        outside = rng.random() < 0.12
        name, painter = choose(rng, OUTSIDE if outside else ANYWHERE[self.slide.stain])
        if outside and self._depth(x, y, d) > -0.5 * d:
            return []
        if any(_hides(place, x, y, d) for cell in self.scene.near(x, y, d) for place in cell.places):
            return []
        return [Piece(painter, seed, x, y, int(np.ceil((_LONG_HALF_IN_D if name in _LONG else _HALF_IN_D) * d)))]

    def _depth(self, x: float, y: float, reach: float) -> float:
        """How deep a position lies in the nearest cell, px; negative outside."""
        here = np.array([x], dtype=np.float32), np.array([y], dtype=np.float32)
        return max((float(cell.depth(*here)[0]) for cell in self.scene.near(x, y, reach)), default=-reach)


def _position(rng: np.random.Generator, column: int, row: int) -> tuple[float, float]:
    x, y = rng.uniform(0, BLOCK, 2)
    return float(x) + column * BLOCK, float(y) + row * BLOCK


def _hides(place: tuple[float, float, float], x: float, y: float, d: float) -> bool:
    return float(np.hypot(x - place[0], y - place[1])) < place[2] + 0.28 * d


# Laying out the cells of a field or a whole slide.


OVERLAPPING = 0.08
"""Cells that lie deeper in each other, in diameters of a main nucleus, overlap; below that they touch at most."""

_TOUCHING = -0.05
_LEAST_CONTACT = 0.03
_TRIES = 80
_BEYOND_IN_D = 2.5
_DEEP = (0.12, 0.6)
_PATCH_UM = 90.0
_GHOST_BLUR = (0.3, 0.7)
"""Standard deviation of the blur of cells far out of focus, nucleus diameters."""


@dataclass(frozen=True, slots=True, eq=False)
class FieldConditions:
    """What differs from place to place on one field or slide: how crowded and how sharp it is."""

    crowding: SmoothField
    focus: FocusMap
    blur: float


def draw_conditions(rng: np.random.Generator, plan: FieldPlan, diameter: float) -> FieldConditions:
    """Crowding and focus of one field or slide; patches out of focus are about 90 um wide (assumed)."""
    patch = _PATCH_UM / plan.um_per_px
    return FieldConditions(
        SmoothField(rng, 2 * patch), FocusMap(rng, plan.defocus, patch), float(rng.uniform(0.03, 0.07)) * diameter
    )


def lay_out(
    key: tuple[int, ...],
    donor: int,
    plan: FieldPlan,
    slide: SlideAppearance,
    conditions: FieldConditions,
    diameter: float,
    hazy: HazySlide | None = None,
) -> Scene:
    """Place cells of all classes at the plan's density, also across the borders.

    The number is Poisson. A cell that finds no free place in 80 tries, as happens in crowded slides, is laid
    where it overlaps least; what overlaps and touches is measured afterwards, however it came about.

    Args:
        key: of the random streams; each cell has one of its own.
        diameter: of the slide's main nuclei, px.
        hazy: where the cells differ in brightness.
    """
    scene = Scene(plan.width, plan.height, diameter)
    rng = np.random.default_rng([*key, 7])
    beyond = _BEYOND_IN_D * diameter
    area = (plan.width + 2 * beyond) * (plan.height + 2 * beyond) * (plan.um_per_px / 1000) ** 2
    patches = conditions.focus.share_of(-beyond, -beyond, plan.width + beyond, plan.height + beyond)
    for number in range(int(rng.poisson(plan.density * area))):
        drawn = np.random.default_rng([*key, 2, number + 1])
        patch = bool(drawn.random() < patches)
        order = _order(
            rng=drawn,
            key=(*key, 3, number + 1),
            donor=donor,
            plan=plan,
            slide=slide,
            diameter=diameter,
            patch_blur=conditions.blur if patch else 0.0,
        )
        order = order if hazy is None else _lit(order, hazy)
        found, cell_plan = find_attempt(order, slide)
        cell = PlacedCell.of(found, cell_plan)
        onto = _partner(rng, scene) if rng.random() < plan.overlaps / 2 else None
        if onto is None or not _lay_on(rng, scene, cell, onto):
            _lay_free(rng=rng, scene=scene, cell=cell, beyond=beyond, conditions=conditions, patch=patch)
        scene.add(cell)
    _measure_overlaps(scene)
    return scene


def lay_out_ghosts(
    key: tuple[int, ...], plan: FieldPlan, slide: SlideAppearance, hazy: HazySlide, diameter: float
) -> Scene:
    """Cells far out of focus, over and under the others: nobody could score them, so they are not in the truth."""
    scene = Scene(plan.width, plan.height, diameter)
    rng = np.random.default_rng(key)
    beyond = _BEYOND_IN_D * diameter
    area = (plan.width + 2 * beyond) * (plan.height + 2 * beyond) * (plan.um_per_px / 1000) ** 2
    for number in range(int(rng.poisson(hazy.haze.ghosts * plan.density * area))):
        blur = float(rng.uniform(*_GHOST_BLUR)) * diameter
        cell_class: CellClass = "binucleated" if rng.random() < 0.5 else "mononucleated"
        order = _lit(CellOrder((*key, number + 1), cell_class, 0, diameter, blur, weak=False), hazy)
        cell = PlacedCell.of(*find_attempt(order, slide))
        x, y = rng.uniform(-beyond, scene.width + beyond), rng.uniform(-beyond, scene.height + beyond)
        cell.move_to(float(x), float(y))
        scene.add(cell)
    return scene


def _lit(order: CellOrder, hazy: HazySlide) -> CellOrder:
    bright, cyto_bright = hazy.brightness(np.random.default_rng([*order.key, 99, 1]))
    return replace(order, bright=bright, cyto_bright=cyto_bright)


def contact_of(cell: PlacedCell) -> str:
    """How a cell meets its neighbours: "overlapping", "touching" or ""."""
    if cell.overlap > OVERLAPPING:
        return "overlapping"
    return "touching" if cell.overlap > _TOUCHING else ""


def _order(
    rng: np.random.Generator,
    key: tuple[int, ...],
    donor: int,
    plan: FieldPlan,
    slide: SlideAppearance,
    diameter: float,
    patch_blur: float,
) -> CellOrder:
    cell_class = _class(rng, plan)
    count = min(MAX_MN, int(rng.poisson(plan.mean_mn(donor, cell_class))))
    size = diameter * _relative_size(rng, cell_class) * float(np.exp(rng.normal(0, 0.08)))
    alone = float(rng.uniform(0.025, 0.06)) * diameter * float(rng.random() < slide.culture.blur_share)
    weak = bool(rng.random() < slide.culture.weak_share) or cell_class == "necrotic"
    return CellOrder(key=key, cell_class=cell_class, n_mn=count, diameter=size, blur=patch_blur or alone, weak=weak)


def _class(rng: np.random.Generator, plan: FieldPlan) -> CellClass:
    shares = np.array([plan.mixture.get(name, 0.0) for name in CLASSES])
    return CLASSES[int(rng.choice(len(CLASSES), p=shares / shares.sum()))]


def _relative_size(rng: np.random.Generator, cell_class: CellClass) -> float:
    """Nuclei that wait to divide are larger than daughters; a third never left rest and are small (assumed)."""
    resting = rng.random() < 0.33
    if cell_class == "mononucleated":
        return 0.78 if resting else 1.18
    return 1.15 if cell_class == "necrotic" else 1.0


def _partner(rng: np.random.Generator, scene: Scene) -> PlacedCell | None:
    """A cell to lie on, if there is any on the picture."""
    return scene.cells[int(rng.integers(len(scene.cells)))] if scene.cells else None


def _lay_on(rng: np.random.Generator, scene: Scene, cell: PlacedCell, onto: PlacedCell) -> bool:
    """Let a cell overlap another one and no third; False if there is no room."""
    for _ in range(_TRIES // 8):
        angle, deep = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(*_DEEP)) * scene.diameter
        near, far = 0.0, cell.reach + onto.reach
        for _ in range(10):
            middle = (near + far) / 2
            cell.move_to(onto.x + middle * np.cos(angle), onto.y + middle * np.sin(angle))
            near, far = (middle, far) if cell.depth_in(onto) > deep else (near, middle)
        others = [other for other in scene.near(cell.x, cell.y, cell.reach) if other is not onto]
        if _deepest(cell, others) < 0:
            return True
    return False


def _lay_free(
    rng: np.random.Generator, scene: Scene, cell: PlacedCell, beyond: float, conditions: FieldConditions, patch: bool
) -> None:
    """Lay a cell where it touches others at most, in or out of focus as it was ordered."""
    best, least = (0.0, 0.0), float("inf")
    for _ in range(_TRIES):
        x, y = _draw_position(rng, scene, beyond, conditions, patch)
        cell.move_to(x, y)
        depth = _deepest(cell, scene.near(cell.x, cell.y, cell.reach))
        if depth < least:
            best, least = (x, y), depth
        if depth < _LEAST_CONTACT * scene.diameter:
            return
    cell.move_to(*best)


def _draw_position(
    rng: np.random.Generator, scene: Scene, beyond: float, conditions: FieldConditions, patch: bool
) -> tuple[float, float]:
    """A position in or out of focus, more often where the slide is crowded."""
    x = y = 0.0
    for _ in range(100 * _TRIES):
        x = float(rng.uniform(-beyond, scene.width + beyond))
        y = float(rng.uniform(-beyond, scene.height + beyond))
        crowded = rng.random() < np.exp(0.4 * conditions.crowding.at(x, y) - 1.0)
        if crowded and conditions.focus.blurred(x, y) == patch:
            break
    return x, y


def _deepest(cell: PlacedCell, others: list[PlacedCell]) -> float:
    return max((cell.depth_in(other) for other in others), default=float("-inf"))


def _measure_overlaps(scene: Scene) -> None:
    for cell in scene.cells:
        near = scene.near(cell.x, cell.y, cell.reach + 0.1 * scene.diameter)
        others = [other for other in near if other is not cell]
        cell.overlap = max(-1.0, _deepest(cell, others) / scene.diameter)
