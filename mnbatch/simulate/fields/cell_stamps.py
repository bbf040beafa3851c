"""One cell drawn on a stack of its own, and smooth random background that any window can be cut from."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mnbatch.simulate.cell_drawing import Frame, Streams, smallest_mn, with_micronuclei
from mnbatch.simulate.cell_plan import CellPlan, Kind, Room, plan_cell
from mnbatch.simulate.cell_shapes import FloatArray, Outline
from mnbatch.simulate.fields.field_plan import CellClass
from mnbatch.simulate.painting import CYTOPLASM, NUCLEUS, Brush, cell_brush, empty_layers, paint_cell
from mnbatch.simulate.slide_appearance import CultureAppearance, SlideAppearance
from mnbatch.simulate.surroundings import scatter

# Smooth random fields that any window of a slide of any size can be cut from, without seams.


_NODES = 96
_FOUR = np.arange(4)
# Standard deviation of white noise after cubic B-spline smoothing in both directions: the mean of the squared
# weights over the phase is 151/315 in each.
_SPREAD = 151 / 315


class SmoothField:
    """Gaussian noise, mean 0, standard deviation about 1, with bumps about `scale` px apart.

    A cubic B-spline over a grid of 96 x 96 random nodes, `scale` px apart, that repeats beyond.
    """

    def __init__(self, rng: np.random.Generator, scale: float) -> None:
        self._grid = (rng.standard_normal((_NODES, _NODES)) / _SPREAD).astype(np.float32)
        self._scale = max(1.0, scale)
        self._shift = rng.uniform(0, _NODES, 2)

    def window(self, left: int, top: int, width: int, height: int) -> FloatArray:
        """Values of the pixels of a window, (height, width)."""
        rows = self._weights(np.arange(top, top + height), self._shift[0])
        columns = self._weights(np.arange(left, left + width), self._shift[1])
        return np.asarray(rows @ self._grid @ columns.T, dtype=np.float32)

    def at(self, x: float, y: float) -> float:
        """Value at one position, px."""
        row, down = _spline(y / self._scale + self._shift[0])
        column, across = _spline(x / self._scale + self._shift[1])
        nodes = self._grid[np.ix_((row + _FOUR) % _NODES, (column + _FOUR) % _NODES)]
        return float(down @ nodes @ across)

    def _weights(self, positions: npt.NDArray[Any], shift: float) -> FloatArray:
        place = np.asarray(positions, dtype=np.float64) / self._scale + shift
        node = np.floor(place).astype(np.int64)
        weights = np.zeros((len(place), _NODES), dtype=np.float32)
        index = np.arange(len(place))
        for offset, part in enumerate(_parts(place - node)):
            weights[index, (node + offset - 1) % _NODES] += part.astype(np.float32)
        return weights


def _spline(place: float) -> tuple[int, npt.NDArray[Any]]:
    """The first of the four nodes around a place, in nodes, and their weights."""
    node = math.floor(place)
    return node - 1, np.array(_parts(place - node))


def _parts(t: Any) -> tuple[Any, Any, Any, Any]:
    """Weights of the four nodes of a cubic B-spline, `t` (0..1) after the second of them."""
    return (1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6


class FocusMap:
    """Patches of the slide that lie out of focus, by position; `share` of the area."""

    def __init__(self, rng: np.random.Generator, share: float, patch_px: float) -> None:
        self._field = SmoothField(rng, patch_px)
        self._level = NormalDist().inv_cdf(1 - share) if share > 0 else float("inf")

    def share_of(self, left: float, top: float, right: float, bottom: float) -> float:
        """Share of a rectangle that lies in such patches, from 20 x 20 positions."""
        if self._level == float("inf"):
            return 0.0
        xs, ys = np.linspace(left, right, 20), np.linspace(top, bottom, 20)
        return float(np.mean([self.blurred(float(x), float(y)) for x in xs for y in ys]))

    def blurred(self, x: float, y: float) -> bool:
        """Whether this position lies in such a patch."""
        return self._level < float("inf") and self._field.at(x, y) > self._level


# One cell drawn on a stack of its own, to be laid on the slide wherever it belongs.
#
# What a cell looks like follows from its order alone, so that it can be planned when the slide is laid out and
# painted again, the same, by every tile that shows a part of it.


_REDRAWS = 12
_WIDTH_IN_D = 6.4

KINDS: dict[CellClass, Kind] = {
    "mononucleated": "mononucleated",
    "binucleated": "binucleated",
    "multinucleated": "multinucleated",
    "apoptotic": "apoptotic",
    "necrotic": "mononucleated",
}


@dataclass(frozen=True, slots=True)
class CellOrder:
    """All that makes a cell what it is.

    Attributes:
        key: of its random stream; attempt: which of its redraws is the cell.
        n_mn: micronuclei.
        diameter: of a main nucleus, px; blur: standard deviation of the focus error, px.
        weak: a third to two thirds of the stain missing.
        bright, cyto_bright: light of its nuclei and of its cytoplasm, relative to the slide's.
    """

    key: tuple[int, ...]
    cell_class: CellClass
    n_mn: int
    diameter: float
    blur: float
    weak: bool
    attempt: int = 0
    bright: float = 1.0
    cyto_bright: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Stamp:
    """Layers of one cell or piece of debris, (LAYERS, h, w), and where its first pixel lies in the order's frame."""

    layers: FloatArray
    left: int
    top: int


@dataclass(frozen=True, slots=True, eq=False)
class _Attempt:
    streams: Streams
    frame: Frame
    culture: CultureAppearance
    plan: CellPlan
    micronuclei: tuple[Outline, ...]


def find_attempt(order: CellOrder, slide: SlideAppearance) -> tuple[CellOrder, CellPlan]:
    """The first redraw of a cell that fits and whose micronuclei can all be seen.

    Returns:
        The order with its attempt, and the plan in px of the stamp's frame.

    Raises:
        RuntimeError: none found (knobs that contradict each other).
    """
    for number in range(_REDRAWS):
        tried = replace(order, attempt=number)
        attempt = _attempt(tried, slide)
        if attempt is not None and (not order.n_mn or _painted(attempt, slide)[1]):
            return tried, attempt.plan
    raise RuntimeError(f"no visible arrangement of {order.n_mn} micronuclei found; use a smaller pixel size")


def plan_of(order: CellOrder, slide: SlideAppearance) -> CellPlan:
    """The plan of a cell whose attempt is known."""
    attempt = _attempt(order, slide)
    if attempt is None:
        raise RuntimeError(f"the cell {order.key} has no attempt {order.attempt}")
    return attempt.plan


def paint_stamp(order: CellOrder, slide: SlideAppearance) -> Stamp:
    """Paint a cell whose attempt is known: cytoplasm, nuclei, micronuclei and decoys, out of focus where it is."""
    attempt = _attempt(order, slide)
    if attempt is None:
        raise RuntimeError(f"the cell {order.key} has no attempt {order.attempt}")
    return trimmed(_lit(_painted(attempt, slide)[0], order), order.blur)


def _lit(layers: FloatArray, order: CellOrder) -> FloatArray:
    """Layers with the light of this cell."""
    if order.bright == order.cyto_bright == 1.0:
        return layers
    layers[NUCLEUS] *= np.float32(order.bright)
    layers[CYTOPLASM] *= np.float32(order.cyto_bright)
    return layers


def trimmed(layers: FloatArray, blur: float) -> Stamp:
    """The part of a stack in which there is anything, after the blur (standard deviation, px)."""
    there = (layers != 0).any(axis=0)
    rows, columns = np.flatnonzero(there.any(axis=1)), np.flatnonzero(there.any(axis=0))
    if not rows.size:
        return Stamp(layers[:, :0, :0], 0, 0)
    top, left = int(rows[0]), int(columns[0])
    part = layers[:, top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]
    if blur <= 0:
        return Stamp(part.copy(), left, top)
    pad = int(np.ceil(3 * blur))
    part = np.pad(part, ((0, 0), (pad, pad), (pad, pad)))
    return Stamp(ndimage.gaussian_filter(part, (0, blur, blur), truncate=3.0), left - pad, top - pad)


def frame_size(diameter: float) -> int:
    """Width of the square frame in which a cell is planned, px."""
    return int(np.ceil(_WIDTH_IN_D * diameter)) + 8


def _attempt(order: CellOrder, slide: SlideAppearance) -> _Attempt | None:
    streams = Streams(np.random.default_rng([*order.key, order.attempt]))
    frame = Frame(frame_size(order.diameter), order.diameter, order.blur, order.weak, 1.0)
    culture = _necrotic(slide.culture) if order.cell_class == "necrotic" else slide.culture
    room = Room(frame.size, frame.diameter, smallest_mn(frame, slide))
    middle = (frame.size - 1) / 2
    plan = plan_cell(rng=streams.plan, kind=KINDS[order.cell_class], room=room, culture=culture, x=middle, y=middle)
    if plan is None or not _fits(plan, frame.size):
        return None
    return _Attempt(streams, frame, culture, plan, plan.places[: order.n_mn])


def _fits(plan: CellPlan, size: int) -> bool:
    cell = plan.cell
    return min(cell.x, cell.y) > cell.reach + 2 and max(cell.x, cell.y) < size - cell.reach - 3


def _painted(attempt: _Attempt, slide: SlideAppearance) -> tuple[FloatArray, bool]:
    """The layers, and whether all micronuclei can be seen (judged on the cell alone)."""
    streams, frame, plan = attempt.streams, attempt.frame, attempt.plan
    dyed = replace(slide, culture=attempt.culture)
    brush = _brush(attempt)
    layers = empty_layers(frame.size)
    paint_cell(layers, streams.paint, plan, brush)
    scatter(layers=layers, rng=streams.debris, plan=plan, slide=dyed, wanted=(0, None), names=set())
    if not attempt.micronuclei:
        return layers, True
    drawn = with_micronuclei(
        layers=layers, streams=streams, places=attempt.micronuclei, plan=plan, brush=brush, frame=frame, slide=dyed
    )
    return drawn.layers, drawn.visible


def _brush(attempt: _Attempt) -> Brush:
    return cell_brush(attempt.streams.paint, attempt.culture, attempt.frame.diameter, attempt.frame.weak)


def _necrotic(culture: CultureAppearance) -> CultureAppearance:
    """A dying cell: pale, swollen, vacuolated, its membrane and chromatin washed out (after the HUMN criteria)."""
    return replace(
        culture,
        vacuoles=6.0,
        cyto_softness=max(0.2, culture.cyto_softness),
        cyto_edge=0.0,
        contrast=0.4 * culture.contrast,
        softness=2.5 * culture.softness,
        rim=0.0,
        nucleoli=0.0,
    )
