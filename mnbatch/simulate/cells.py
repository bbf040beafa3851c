"""One simulated cell crop with its truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mnbatch.assay.cells import Look
from mnbatch.simulate import camera as optics
from mnbatch.simulate.artefacts import ANYWHERE, DECOYS, OUTSIDE, choose, paint_red_cell
from mnbatch.simulate.fluorescence import emit
from mnbatch.simulate.giemsa import luminance, transmit
from mnbatch.simulate.looks import SlideLook
from mnbatch.simulate.painting import Brush, cell_brush, empty_layers, paint_cell, paint_nucleus
from mnbatch.simulate.plan import MAX_MN, CellPlan, Kind, Room, plan_cell, plan_neighbour
from mnbatch.simulate.shapes import BoolArray, FloatArray, Outline

MIN_CONTRAST = 0.15
"""A micronucleus counts only if it differs from its surroundings by this share of the main nuclei's own contrast."""

_MIN_GREY_STEP = 0.02
_SMALLEST_NUCLEUS = 26.0
_REDRAWS = 8


@dataclass(frozen=True, slots=True)
class CellSpec:
    """What to draw. None leaves a choice to the slide's distributions, which never depend on `n_mn`.

    Attributes:
        look: "fluorescence" or "giemsa"; must be the slide's.
        n_mn: micronuclei, 0..MAX_MN; 0 for an apoptotic cell.
        size: width and height of the crop, px.
        nucleus_fraction: diameter of a main nucleus / width of the crop.
        neighbours: other cells at the crop's edges.
        debris: artefacts anywhere; decoys: artefacts over or beside the cytoplasm that resemble micronuclei.
        weak_stain, blur: a third to two thirds of the stain missing; out of focus.
        bits: of a fluorescence crop (Giemsa is always 8-bit RGB).
    """

    look: Look
    n_mn: int = 0
    kind: Kind = "binucleated"
    size: int = 224
    nucleus_fraction: float | None = None
    neighbours: int | None = None
    debris: int | None = None
    decoys: int | None = None
    weak_stain: bool | None = None
    blur: bool | None = None
    bits: Literal[8, 16] = 8


@dataclass(frozen=True, slots=True)
class Micronucleus:
    """A drawn micronucleus in px of the crop; `contrast` as in MIN_CONTRAST, measured in the finished picture."""

    x: float
    y: float
    radius: float
    contrast: float


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedCell:
    """A crop and what was drawn into it.

    Attributes:
        image: Giemsa (size, size, 3) uint8; fluorescence (size, size) uint8 or uint16.
        mn_mask, nucleus_mask, cell_mask: (size, size), of this cell alone, not of its neighbours.
        artefacts: names of what else was drawn, sorted, each once.
    """

    image: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
    n_mn: int
    micronuclei: tuple[Micronucleus, ...]
    mn_mask: BoolArray
    nucleus_mask: BoolArray
    cell_mask: BoolArray
    artefacts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Frame:
    """Sizes that follow from the slide and the spec, in native px."""

    size: int
    diameter: float
    blur: float
    weak: bool
    zoom: float


class _Streams:
    """Separate random streams, so that a cell with micronuclei equals the same cell without, but for them."""

    def __init__(self, rng: np.random.Generator) -> None:
        seeds = rng.integers(0, 2**63, 6)
        streams = [np.random.default_rng(int(seed)) for seed in seeds]
        self.frame, self.plan, self.paint, self.debris, self.mn, self._light = streams
        self._light_seed = int(seeds[5])

    def light(self) -> np.random.Generator:
        """The stream of stain drift and camera noise, from its start, for each exposure."""
        return np.random.default_rng(self._light_seed)


def simulate_cell(rng: np.random.Generator, spec: CellSpec, slide: SlideLook) -> SimulatedCell:
    """Draw one cell crop.

    Raises:
        ValueError: look of spec and slide differ, n_mn outside 0..MAX_MN, or micronuclei in an apoptotic cell.
        RuntimeError: no visible arrangement found in several redraws (knobs that contradict each other).
    """
    _check(spec, slide)
    for _ in range(_REDRAWS):
        cell = _attempt(_Streams(rng), spec, slide)
        if cell is not None:
            return cell
    raise RuntimeError(
        f"no visible arrangement of {spec.n_mn} micronuclei found; use a larger nucleus_fraction"
    )


def _check(spec: CellSpec, slide: SlideLook) -> None:
    if spec.look != slide.look:
        raise ValueError(f"spec asks for {spec.look}, the slide is {slide.look}")
    if not 0 <= spec.n_mn <= MAX_MN:
        raise ValueError(f"n_mn must lie between 0 and {MAX_MN}, not {spec.n_mn}")
    if spec.kind == "apoptotic" and spec.n_mn:
        raise ValueError("an apoptotic cell is not scored: n_mn must be 0")


def _attempt(streams: _Streams, spec: CellSpec, slide: SlideLook) -> SimulatedCell | None:
    frame = _frame(streams.frame, spec, slide)
    room = Room(frame.size, frame.diameter, _smallest_mn(frame, slide))
    middle = (frame.size - 1) / 2 + streams.plan.normal(0, 0.03, 2) * frame.size
    plan = plan_cell(streams.plan, spec.kind, room, slide.culture, float(middle[0]), float(middle[1]))
    if plan is None:
        return None
    names: set[str] = set()
    brush = cell_brush(streams.paint, slide.culture, frame.diameter, frame.weak)
    layers = empty_layers(frame.size)
    _surroundings(layers, streams.debris, plan, room, spec, slide, names)
    paint_cell(layers, streams.paint, plan, brush)
    _debris(layers, streams.debris, plan, spec, slide, names)
    places = plan.places[: spec.n_mn]
    exposed, contrasts = _with_micronuclei(layers, streams, places, plan, brush, frame, slide)
    if any(c < MIN_CONTRAST for c in contrasts):
        return None
    names.update(_states(plan, frame))
    return _finish(exposed, plan, places, contrasts, spec, slide, frame, names)


def _frame(rng: np.random.Generator, spec: CellSpec, slide: SlideLook) -> _Frame:
    culture = slide.culture
    fraction = culture.nucleus_fraction * float(np.exp(rng.normal(0, 0.1)))
    fraction = spec.nucleus_fraction if spec.nucleus_fraction is not None else fraction
    native = max(slide.camera.native, _SMALLEST_NUCLEUS / (fraction * spec.size))
    size = min(spec.size, round(native * spec.size))
    diameter = fraction * size
    weak_drawn, blur_drawn = rng.random() < culture.weak_share, rng.random() < culture.blur_share
    strength = float(rng.uniform(0.025, 0.06)) * diameter
    blurred = blur_drawn if spec.blur is None else spec.blur
    weak = weak_drawn if spec.weak_stain is None else spec.weak_stain
    return _Frame(size, diameter, strength if blurred else 0.0, bool(weak), spec.size / size)


def _smallest_mn(frame: _Frame, slide: SlideLook) -> float:
    """Smallest diameter that survives this optics, native px; at least 1/16 of the main nucleus."""
    sigma = float(np.hypot(slide.camera.psf, frame.blur))
    return max(frame.diameter / 16, 3.0, 2.4 * sigma)


def _surroundings(
    layers: FloatArray,
    rng: np.random.Generator,
    plan: CellPlan,
    room: Room,
    spec: CellSpec,
    slide: SlideLook,
    names: set[str],
) -> None:
    """Red cells and neighbouring cells; they may touch the cell and never cover its places."""
    culture = slide.culture
    for _ in range(min(8, int(rng.poisson(culture.red_cells)))):
        x, y = rng.uniform(-0.1, 1.1, 2) * room.size
        if plan.cell.depth(np.float32([x]), np.float32([y]))[0][0] < -0.25 * room.diameter:
            paint_red_cell(layers, rng, x, y, room.diameter, culture.ghosts, float(rng.uniform(0.5, 1.1)))
            names.add("ghost" if culture.ghosts else "red_cell")
    drawn = int(rng.poisson(culture.neighbours))
    for _ in range(min(4, drawn) if spec.neighbours is None else spec.neighbours):
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
    body = Outline(x, y, np.full(plan.cell.radii.shape, radius, dtype=np.float32))
    clear = plan.cell.depth(np.float32([x]), np.float32([y]))[0][0] < -2 * radius
    if clear and all(n.depth(np.float32([x]), np.float32([y]))[0][0] < -radius for n in other.nuclei):
        paint_nucleus(layers, rng, body, brush, 0.9)
        names.add("neighbour_mn")


def _over(cell: Outline, place: Outline) -> bool:
    return float(cell.depth(np.float32([place.x]), np.float32([place.y]))[0][0]) > -place.reach - 1.0


def _touch(one: Outline, other: Outline) -> bool:
    """Whether two outlines meet or overlap (checked on every tenth edge point of the other)."""
    angles = np.linspace(0, 2 * np.pi, other.radii.size, endpoint=False)[::10]
    xs = (other.x + other.radii[::10] * np.cos(angles)).astype(np.float32)
    ys = (other.y + other.radii[::10] * np.sin(angles)).astype(np.float32)
    return bool((one.depth(xs, ys)[0] > -1.5).any())


def _debris(
    layers: FloatArray,
    rng: np.random.Generator,
    plan: CellPlan,
    spec: CellSpec,
    slide: SlideLook,
    names: set[str],
) -> None:
    drawn = int(rng.poisson(slide.culture.debris)), int(rng.poisson(slide.culture.decoys))
    d, size = plan.diameter, layers.shape[1]
    for _ in range(min(8, drawn[0]) if spec.debris is None else spec.debris):
        outside = rng.random() < 0.12
        name, painter = choose(rng, OUTSIDE if outside else ANYWHERE)
        at = _free_spot(rng, plan, size, (-9.0, -0.3) if outside else (-9.0, 9.0))
        if at is not None:
            painter(layers, rng, at[0], at[1], d)
            names.update(("debris", name))
    for _ in range(min(3, drawn[1]) if spec.decoys is None else spec.decoys):
        name, painter = choose(rng, DECOYS)
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


def _with_micronuclei(
    layers: FloatArray,
    streams: _Streams,
    places: tuple[Outline, ...],
    plan: CellPlan,
    brush: Brush,
    frame: _Frame,
    slide: SlideLook,
) -> tuple[FloatArray, list[float]]:
    """Add the micronuclei and expose; those that came out too faint are painted again, denser."""
    culture = slide.culture
    densities = [
        float(np.clip(culture.mn_density * np.exp(streams.mn.normal(0, 0.13)), 0.5, 1.3))
        for _ in range(MAX_MN)
    ]
    focus = [1.0 + 1.5 * float(streams.mn.random() < 0.15) for _ in range(MAX_MN)]
    seed = int(streams.mn.integers(2**63))
    contrasts: list[float] = []
    exposed = np.empty(0, dtype=np.float32)
    for _ in range(4):
        stack = layers.copy()
        brushwork = np.random.default_rng(seed)
        for place, density, sharp in zip(places, densities, focus, strict=False):
            paint_nucleus(stack, brushwork, place, brush, density, sharp)
        exposed = _expose(stack, streams.light(), frame, slide)
        contrasts = _contrasts(exposed, places, plan)
        faint = [c < MIN_CONTRAST for c in contrasts]
        if not any(faint):
            break
        for i, is_faint in enumerate(faint):
            densities[i], focus[i] = (densities[i] * 1.4, 1.0) if is_faint else (densities[i], focus[i])
    return exposed, contrasts


def _expose(layers: FloatArray, rng: np.random.Generator, frame: _Frame, slide: SlideLook) -> FloatArray:
    if slide.giemsa is not None:
        light = transmit(layers, rng, slide.giemsa, slide.camera)
    elif slide.fluorescence is not None:
        light = emit(layers, rng, slide.fluorescence, slide.camera, frame.diameter)
    else:
        raise ValueError("the slide's look has neither a Giemsa nor a fluorescence stain")
    return optics.expose(light, rng, slide.camera, frame.blur)


def _contrasts(exposed: FloatArray, places: tuple[Outline, ...], plan: CellPlan) -> list[float]:
    """Contrast of each micronucleus with the ring around it / contrast of the nuclei with the cytoplasm; 0..1 or more.

    A step of fewer than _MIN_GREY_STEP of the full range counts as none.
    """
    if not places:
        return []
    grey = luminance(exposed) if exposed.shape[0] == 3 else exposed[0]
    size = grey.shape[0]
    nuclei = np.zeros(grey.shape, dtype=bool)
    for nucleus in (*plan.nuclei, *plan.buds):
        nuclei |= nucleus.mask(size)
    bodies = [place.mask(size) for place in places]
    taken = np.logical_or.reduce([nuclei, *bodies])
    cytoplasm = plan.cell.mask(size) & ~ndimage.binary_dilation(taken, iterations=2)
    ground = float(grey[cytoplasm].mean()) if cytoplasm.any() else float(np.median(grey))
    own = abs(float(grey[nuclei].mean()) - ground)
    sign = np.sign(float(grey[nuclei].mean()) - ground)
    out = []
    for body in bodies:
        ring = ndimage.binary_dilation(body, iterations=3) & ~ndimage.binary_dilation(taken, iterations=1)
        around = float(grey[ring].mean()) if ring.sum() > 4 else ground
        step = float(sign * (grey[body & ~nuclei].mean() - around)) if (body & ~nuclei).any() else 0.0
        out.append(step / own if own > 0 and step >= _MIN_GREY_STEP else 0.0)
    return out


def _states(plan: CellPlan, frame: _Frame) -> set[str]:
    states = {
        "weak_stain": frame.weak,
        "blur": frame.blur > 0,
        "bud": bool(plan.buds),
        "bridge": plan.bridge is not None,
    }
    return {name for name, present in states.items() if present}


def _finish(
    exposed: FloatArray,
    plan: CellPlan,
    places: tuple[Outline, ...],
    contrasts: list[float],
    spec: CellSpec,
    slide: SlideLook,
    frame: _Frame,
    names: set[str],
) -> SimulatedCell:
    size, zoom = spec.size, frame.zoom

    def union(outlines: tuple[Outline, ...]) -> BoolArray:
        out = np.zeros((size, size), dtype=bool)
        for outline in outlines:
            out |= outline.mask(size, zoom)
        return out

    found = tuple(
        Micronucleus((p.x + 0.5) * zoom - 0.5, (p.y + 0.5) * zoom - 0.5, p.mean_radius * zoom, c)
        for p, c in zip(places, contrasts, strict=True)
    )
    return SimulatedCell(
        image=_to_image(exposed, spec, slide),
        n_mn=len(found),
        micronuclei=found,
        mn_mask=union(places),
        nucleus_mask=union((*plan.nuclei, *plan.buds)),
        cell_mask=plan.cell.mask(size, zoom),
        artefacts=tuple(sorted(names)),
    )


def _to_image(
    exposed: FloatArray, spec: CellSpec, slide: SlideLook
) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    if slide.fluorescence is not None and spec.bits == 16:
        plane = np.clip(optics.resized(exposed[0], spec.size, slide.camera), 0.0, 1.0)
        counts = slide.fluorescence.offset + plane * slide.fluorescence.full_scale
        return np.round(counts).astype(np.uint16)
    pixels = np.round(exposed * 255.0).astype(np.uint8)
    flat = pixels[0] if pixels.shape[0] == 1 else np.ascontiguousarray(np.moveaxis(pixels, 0, -1))
    return optics.to_file_size(flat, spec.size, slide.camera)
