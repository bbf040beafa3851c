"""Debris and red cells between and over the cells, laid out block by block so that nothing of it is kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mnbatch.simulate.artefacts import ANYWHERE, OUTSIDE, Painter, choose, paint_red_cell
from mnbatch.simulate.fields.placing import Ground
from mnbatch.simulate.fields.scene import Box, Scene
from mnbatch.simulate.fields.stamp import Stamp, trimmed
from mnbatch.simulate.look_parts import SlideLook
from mnbatch.simulate.painting import empty_layers
from mnbatch.simulate.shapes import FloatArray

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
    slide: SlideLook
    ground: Ground
    debris: float = 1.0

    def block(self, column: int, row: int) -> list[Piece]:
        """Pieces whose position lies in one block of 512 x 512 px; always the same.

        Numbers are those of the crops by area: `CultureLook` counts a crop of 1 / nucleus_fraction diameters.
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
        blurred = self.ground.focus.blurred(piece.x, piece.y)
        stamp = trimmed(layers, self.ground.blur if blurred else 0.0)
        return Stamp(stamp.layers, left + stamp.left, top + stamp.top)

    def _red_cell(self, rng: np.random.Generator, x: float, y: float) -> list[Piece]:
        d, seed = self.scene.diameter, int(rng.integers(2**62))
        if self._depth(x, y, d) > -0.25 * d:
            return []
        return [Piece(self._paint_red_cell, seed, x, y, int(np.ceil(_HALF_IN_D * d)))]

    def _paint_red_cell(self, layers: FloatArray, rng: np.random.Generator, x: float, y: float, d: float) -> None:
        paint_red_cell(layers, rng, x, y, d, self.slide.culture.ghosts, float(rng.uniform(0.5, 1.1)))

    def _debris(self, rng: np.random.Generator, x: float, y: float) -> list[Piece]:
        d, seed = self.scene.diameter, int(rng.integers(2**62))
        outside = rng.random() < 0.12
        name, painter = choose(rng, OUTSIDE if outside else ANYWHERE[self.slide.look])
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
