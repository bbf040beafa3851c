"""One cell drawn on a stack of its own, to be laid on the slide wherever it belongs.

What a cell looks like follows from its order alone, so that it can be planned when the slide is laid out and
painted again, the same, by every tile that shows a part of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from mnbatch.simulate.drawing import Frame, Streams, smallest_mn, with_micronuclei
from mnbatch.simulate.fields.plan import CellClass
from mnbatch.simulate.look_parts import CultureLook, SlideLook
from mnbatch.simulate.painting import Brush, cell_brush, empty_layers, paint_cell
from mnbatch.simulate.plan import CellPlan, Kind, Room, plan_cell
from mnbatch.simulate.shapes import FloatArray, Outline
from mnbatch.simulate.surroundings import scatter

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
    """

    key: tuple[int, ...]
    cell_class: CellClass
    n_mn: int
    diameter: float
    blur: float
    weak: bool
    attempt: int = 0


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
    culture: CultureLook
    plan: CellPlan
    micronuclei: tuple[Outline, ...]


def find_attempt(order: CellOrder, slide: SlideLook) -> tuple[CellOrder, CellPlan]:
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


def plan_of(order: CellOrder, slide: SlideLook) -> CellPlan:
    """The plan of a cell whose attempt is known."""
    attempt = _attempt(order, slide)
    if attempt is None:
        raise RuntimeError(f"the cell {order.key} has no attempt {order.attempt}")
    return attempt.plan


def paint_stamp(order: CellOrder, slide: SlideLook) -> Stamp:
    """Paint a cell whose attempt is known: cytoplasm, nuclei, micronuclei and decoys, out of focus where it is."""
    attempt = _attempt(order, slide)
    if attempt is None:
        raise RuntimeError(f"the cell {order.key} has no attempt {order.attempt}")
    return trimmed(_painted(attempt, slide)[0], order.blur)


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


def _attempt(order: CellOrder, slide: SlideLook) -> _Attempt | None:
    streams = Streams(np.random.default_rng([*order.key, order.attempt]))
    frame = Frame(frame_size(order.diameter), order.diameter, order.blur, order.weak, 1.0)
    culture = _necrotic(slide.culture) if order.cell_class == "necrotic" else slide.culture
    room = Room(frame.size, frame.diameter, smallest_mn(frame, slide))
    middle = (frame.size - 1) / 2
    plan = plan_cell(streams.plan, KINDS[order.cell_class], room, culture, middle, middle)
    if plan is None or not _fits(plan, frame.size):
        return None
    return _Attempt(streams, frame, culture, plan, plan.places[: order.n_mn])


def _fits(plan: CellPlan, size: int) -> bool:
    cell = plan.cell
    return min(cell.x, cell.y) > cell.reach + 2 and max(cell.x, cell.y) < size - cell.reach - 3


def _painted(attempt: _Attempt, slide: SlideLook) -> tuple[FloatArray, bool]:
    """The layers, and whether all micronuclei can be seen (judged on the cell alone)."""
    streams, frame, plan = attempt.streams, attempt.frame, attempt.plan
    dyed = replace(slide, culture=attempt.culture)
    brush = _brush(attempt)
    layers = empty_layers(frame.size)
    paint_cell(layers, streams.paint, plan, brush)
    scatter(layers, streams.debris, plan, dyed, (0, None), set())
    if not attempt.micronuclei:
        return layers, True
    drawn = with_micronuclei(layers, streams, attempt.micronuclei, plan, brush, frame, dyed)
    return drawn.layers, drawn.visible


def _brush(attempt: _Attempt) -> Brush:
    return cell_brush(attempt.streams.paint, attempt.culture, attempt.frame.diameter, attempt.frame.weak)


def _necrotic(culture: CultureLook) -> CultureLook:
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
