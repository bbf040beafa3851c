"""The cells of a field or a whole slide and where they lie: some hundred bytes a cell, no pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from mnbatch.simulate.fields.stamp import CellOrder
from mnbatch.simulate.plan import CellPlan
from mnbatch.simulate.shapes import DIRECTIONS, FloatArray

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
