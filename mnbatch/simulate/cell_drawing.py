"""One simulated cell crop with its truth: planned, painted, exposed; only what can be seen is truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mnbatch.assay.cells import Stain
from mnbatch.simulate import optics
from mnbatch.simulate.cell_plan import MAX_MN, CellPlan, Kind, Room, plan_cell
from mnbatch.simulate.cell_shapes import BoolArray, FloatArray, Outline
from mnbatch.simulate.hard_look_alikes import add_hard_look_alikes
from mnbatch.simulate.optics import emit, luminance, transmit
from mnbatch.simulate.painting import Brush, cell_brush, empty_layers, paint_cell, paint_nucleus
from mnbatch.simulate.slide_appearance import SlideAppearance
from mnbatch.simulate.surroundings import scatter, surround

# Whether a drawn micronucleus can be seen in the picture: only what can be seen is counted as truth.


MIN_CONTRAST = 0.15
"""A micronucleus counts only if it differs from its surroundings by this share of the nuclei's contrast."""

_MIN_GREY_STEP = 0.02
_RING = 3


def contrasts_of(exposed: FloatArray, places: tuple[Outline, ...], plan: CellPlan) -> list[float]:
    """Step from each micronucleus to the ring around it / step from the nuclei to the cytoplasm, signed.

    A step of fewer than _MIN_GREY_STEP of the full range counts as none.

    Args:
        exposed: the picture before compression and resampling, (channels, size, size), 0..1.
    """
    if not places:
        return []
    grey = luminance(exposed) if exposed.shape[0] == 3 else exposed[0]
    nuclei = _union(grey.shape[0], (*plan.nuclei, *plan.buds))
    bodies = _union(grey.shape[0], places)
    cytoplasm = plan.cell.mask(grey.shape[0]) & ~nuclei & ~bodies
    background = float(np.median(grey[cytoplasm])) if cytoplasm.any() else float(np.median(grey))
    own = float(grey[nuclei].mean()) - background
    steps = [_step(grey, place, nuclei, bodies, background) * float(np.sign(own)) for place in places]
    return [step / abs(own) if own and step >= _MIN_GREY_STEP else 0.0 for step in steps]


def _step(grey: FloatArray, place: Outline, nuclei: BoolArray, bodies: BoolArray, background: float) -> float:
    """Mean of the body, off the nuclei, minus mean of the ring around it."""
    size, reach = grey.shape[0], place.reach + _RING + 3
    rows = slice(max(0, int(place.y - reach)), min(size, int(place.y + reach) + 1))
    columns = slice(max(0, int(place.x - reach)), min(size, int(place.x + reach) + 1))
    window, others = grey[rows, columns], nuclei[rows, columns]
    body = place.mask(size)[rows, columns]
    seen = body & ~others
    taken = ndimage.binary_dilation(others | bodies[rows, columns], iterations=1)
    ring = ndimage.binary_dilation(body, iterations=_RING) & ~taken
    around = float(window[ring].mean()) if ring.sum() > 4 else background
    return float(window[seen].mean()) - around if seen.any() else 0.0


def _union(size: int, outlines: tuple[Outline, ...]) -> BoolArray:
    out = np.zeros((size, size), dtype=bool)
    for outline in outlines:
        out |= outline.mask(size)
    return out


# One cell painted with its micronuclei and exposed; shared by crops and fields.


@dataclass(frozen=True, slots=True)
class Frame:
    """Sizes that follow from the slide and the spec, in native px."""

    size: int
    diameter: float
    blur: float
    weak: bool
    zoom: float


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A painted cell: its layers with the micronuclei, the exposed picture, the contrast of each micronucleus."""

    layers: FloatArray
    exposed: FloatArray
    contrasts: list[float]

    @property
    def visible(self) -> bool:
        """Whether every micronucleus can be seen."""
        return all(contrast >= MIN_CONTRAST for contrast in self.contrasts)


class Streams:
    """Separate random streams, so that a cell with micronuclei equals the same cell without, but for them."""

    def __init__(self, rng: np.random.Generator) -> None:
        seeds = rng.integers(0, 2**63, 6)
        streams = [np.random.default_rng(int(seed)) for seed in seeds]
        self.frame, self.plan, self.paint, self.debris, self.mn, self._light = streams
        self._light_seed = int(seeds[5])

    def light(self) -> np.random.Generator:
        """The stream of stain drift and camera noise, from its start, for each exposure."""
        return np.random.default_rng(self._light_seed)


def smallest_mn(frame: Frame, slide: SlideAppearance) -> float:
    """Smallest diameter that survives this optics, native px; at least 1/16 of the main nucleus."""
    sigma = float(np.hypot(slide.camera.psf, frame.blur))
    return max(frame.diameter / 16, 3.0, 2.4 * sigma)


def with_micronuclei(
    layers: FloatArray,
    streams: Streams,
    places: tuple[Outline, ...],
    plan: CellPlan,
    brush: Brush,
    frame: Frame,
    slide: SlideAppearance,
) -> Drawn:
    """Add the micronuclei and expose; those that came out too faint are painted again, denser."""
    culture = slide.culture
    densities = [
        float(np.clip(culture.mn_density * np.exp(streams.mn.normal(0, 0.13)), 0.5, 1.3)) for _ in range(MAX_MN)
    ]
    focus = [1.0 + 1.5 * float(streams.mn.random() < 0.15) for _ in range(MAX_MN)]
    seed = int(streams.mn.integers(2**63))
    drawn = Drawn(layers, np.empty(0, dtype=np.float32), [])
    for _ in range(4):
        stack = layers.copy()
        brushwork = np.random.default_rng(seed)
        for place, density, sharp in zip(places, densities, focus, strict=False):
            paint_nucleus(layers=stack, rng=brushwork, outline=place, brush=brush, density=density, focus=sharp)
        exposed = expose(stack, streams.light(), frame, slide)
        drawn = Drawn(stack, exposed, contrasts_of(exposed, places, plan))
        if drawn.visible:
            break
        for i, contrast in enumerate(drawn.contrasts):
            if contrast < MIN_CONTRAST:
                densities[i], focus[i] = densities[i] * 1.4, 1.0
    return drawn


def expose(layers: FloatArray, rng: np.random.Generator, frame: Frame, slide: SlideAppearance) -> FloatArray:
    """The exposed picture of a crop, (channels, size, size), 0..1.

    Raises:
        ValueError: a stain without a stain.
    """
    if slide.giemsa is not None:
        light = transmit(layers, rng, slide.giemsa, slide.camera)
    elif slide.fluorescence is not None:
        light = emit(layers, rng, slide.fluorescence, slide.camera, frame.diameter)
    else:
        raise ValueError("the slide's stain has neither a Giemsa nor a fluorescence stain")
    return optics.expose(light, rng, slide.camera, frame.blur)


# One simulated cell crop with its truth.


_SMALLEST_NUCLEUS = 26.0
_REDRAWS = 8


@dataclass(frozen=True, slots=True)
class CellSpec:
    """What to draw. None leaves a choice to the slide's distributions, which never depend on `n_mn`.

    Attributes:
        stain: "fluorescence" or "giemsa"; must be the slide's.
        n_mn: micronuclei, 0..MAX_MN; 0 for an apoptotic cell.
        size: width and height of the crop, px.
        nucleus_fraction: diameter of a main nucleus / width of the crop.
        neighbours: other cells at the crop's edges.
        debris: artefacts anywhere; decoys: artefacts over or beside the cytoplasm that resemble micronuclei.
        weak_stain, blur: a third to two thirds of the stain missing; out of focus.
        bits: of a fluorescence crop (Giemsa is always 8-bit RGB).
        hard: also draw the look-alikes of `mnbatch.simulate.hard_look_alikes`, which are for training.
    """

    stain: Stain
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
    hard: bool = False


@dataclass(frozen=True, slots=True)
class Micronucleus:
    """A drawn micronucleus, px of the crop; `contrast` as in MIN_CONTRAST, as measured in the picture."""

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


def simulate_cell(rng: np.random.Generator, spec: CellSpec, slide: SlideAppearance) -> SimulatedCell:
    """Draw one cell crop.

    Raises:
        ValueError: stains of spec and slide differ; n_mn outside 0..MAX_MN, or above 0 in an apoptotic cell.
        RuntimeError: no visible arrangement found in several redraws (knobs that contradict each other).
    """
    _check(spec, slide)
    for _ in range(_REDRAWS):
        cell = _attempt(Streams(rng), spec, slide)
        if cell is not None:
            return cell
    raise RuntimeError(f"no visible arrangement of {spec.n_mn} micronuclei found; use a larger nucleus_fraction")


def _check(spec: CellSpec, slide: SlideAppearance) -> None:
    if spec.stain != slide.stain:
        raise ValueError(f"spec asks for {spec.stain}, the slide is {slide.stain}")
    if not 0 <= spec.n_mn <= MAX_MN:
        raise ValueError(f"n_mn must lie between 0 and {MAX_MN}, not {spec.n_mn}")
    if spec.kind == "apoptotic" and spec.n_mn:
        raise ValueError("an apoptotic cell is not scored: n_mn must be 0")


def _attempt(streams: Streams, spec: CellSpec, slide: SlideAppearance) -> SimulatedCell | None:
    frame = _frame(streams.frame, spec, slide)
    room = Room(frame.size, frame.diameter, smallest_mn(frame, slide))
    middle = (frame.size - 1) / 2 + streams.plan.normal(0, 0.03, 2) * frame.size
    plan = plan_cell(
        rng=streams.plan, kind=spec.kind, room=room, culture=slide.culture, x=float(middle[0]), y=float(middle[1])
    )
    if plan is None:
        return None
    names: set[str] = set()
    brush = cell_brush(streams.paint, slide.culture, frame.diameter, frame.weak)
    layers = empty_layers(frame.size)
    surround(
        layers=layers, rng=streams.debris, plan=plan, room=room, slide=slide, neighbours=spec.neighbours, names=names
    )
    paint_cell(layers, streams.paint, plan, brush)
    scatter(layers=layers, rng=streams.debris, plan=plan, slide=slide, wanted=(spec.debris, spec.decoys), names=names)
    if spec.hard:
        add_hard_look_alikes(layers=layers, rng=streams.debris, plan=plan, brush=brush, slide=slide, names=names)
    places = plan.places[: spec.n_mn]
    drawn = with_micronuclei(
        layers=layers, streams=streams, places=places, plan=plan, brush=brush, frame=frame, slide=slide
    )
    if not drawn.visible:
        return None
    names.update(_states(plan, frame))
    return _finish(drawn=drawn, plan=plan, places=places, spec=spec, slide=slide, frame=frame, names=names)


def _frame(rng: np.random.Generator, spec: CellSpec, slide: SlideAppearance) -> Frame:
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
    return Frame(size, diameter, strength if blurred else 0.0, bool(weak), spec.size / size)


def _states(plan: CellPlan, frame: Frame) -> set[str]:
    states = {
        "weak_stain": frame.weak,
        "blur": frame.blur > 0,
        "bud": bool(plan.buds),
        "bridge": plan.bridge is not None,
    }
    return {name for name, present in states.items() if present}


def _finish(
    drawn: Drawn,
    plan: CellPlan,
    places: tuple[Outline, ...],
    spec: CellSpec,
    slide: SlideAppearance,
    frame: Frame,
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
        for p, c in zip(places, drawn.contrasts, strict=True)
    )
    return SimulatedCell(
        image=_to_image(drawn.exposed, spec, slide),
        n_mn=len(found),
        micronuclei=found,
        mn_mask=union(places),
        nucleus_mask=union((*plan.nuclei, *plan.buds)),
        cell_mask=plan.cell.mask(size, zoom),
        artefacts=tuple(sorted(names)),
    )


def _to_image(
    exposed: FloatArray, spec: CellSpec, slide: SlideAppearance
) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    if slide.fluorescence is not None and spec.bits == 16:
        plane = np.clip(optics.resized(exposed[0], spec.size, slide.camera), 0.0, 1.0)
        counts = slide.fluorescence.offset + plane * slide.fluorescence.full_scale
        return np.round(counts).astype(np.uint16)
    pixels = np.round(exposed * 255.0).astype(np.uint8)
    flat = pixels[0] if pixels.shape[0] == 1 else np.ascontiguousarray(np.moveaxis(pixels, 0, -1))
    return optics.to_file_size(flat, spec.size, slide.camera)
