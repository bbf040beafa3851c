"""From a scene to pixels, window by window: a field is one window, a whole slide many."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar, cast

import numpy as np
import numpy.typing as npt

from mnbatch.simulate.cell_shapes import FloatArray
from mnbatch.simulate.export_plan import SlideJob, slide_stain_of
from mnbatch.simulate.fields.cell_stamps import SmoothField, Stamp, paint_stamp
from mnbatch.simulate.fields.field_plan import FieldPlan
from mnbatch.simulate.fields.field_scene import (
    BLOCK,
    REACH_IN_D,
    Box,
    Litter,
    Piece,
    Scene,
    draw_conditions,
    lay_out,
    lay_out_ghosts,
)
from mnbatch.simulate.fields.haze import HazySlide, draw_hazy_slide, hazy_appearance
from mnbatch.simulate.optics import absorb, absorbances, expose, illumination_at, shine
from mnbatch.simulate.painting import CYTOPLASM, LAYERS, NUCLEUS
from mnbatch.simulate.slide_appearance import SlideAppearance, draw_slide_appearance

# From a scene to pixels, window by window: a field is one window, a whole slide many.


Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

SCANNER_FRAME = 2048
"""Width of the camera's picture of which a scanner puts a whole slide together, px."""

_SCANNER_SHADING = 0.15
_CYTOPLASM_DYE, _BLEED = 0.6, 0.01
"""Light of a cytoplasm's dye relative to that of nuclei in their channel (assumed), and what of the latter comes
through."""
_KEPT_CELLS, _KEPT_BLOCKS = 48, 200
# Haze is made on every fourth pixel: windows begin at multiples of four, so that it has no seams.
_ALIGN = 4

Made = TypeVar("Made")


class Renderer:
    """Draws any window of a scene; windows that meet fit without a seam.

    Args:
        key: of the random streams of background, stain and noise.
        scanned: a whole slide, put together from the flat-fielded pictures of a scanner; else one camera field.
        hazed: light from out of focus, where there is any.
    """

    def __init__(
        self,
        scene: Scene,
        litter: Litter,
        slide: SlideAppearance,
        key: tuple[int, ...],
        *,
        scanned: bool,
        hazed: Hazed | None = None,
    ) -> None:
        self._scene, self._litter, self._slide, self._key, self._scanned = scene, litter, slide, key, scanned
        self._hazed = hazed
        rng = np.random.default_rng([*key, 5])
        d = scene.diameter
        self._drift = SmoothField(rng, 0.2 * d)
        self._film = [
            (1.0, SmoothField(rng, 6.0 * d)),
            (0.6, SmoothField(rng, 0.6 * d)),
            (0.5, SmoothField(rng, d / 7)),
        ]
        self._vectors = absorbances(rng, slide.giemsa) if slide.giemsa is not None else None
        self._stamps: _Recent[Stamp] = _Recent(_KEPT_CELLS)
        self._blocks: _Recent[list[Piece]] = _Recent(_KEPT_BLOCKS)

    def window(self, box: Box, number: int, bits: int) -> Pixels:
        """Pixels of a window of the slide.

        Args:
            box: left, top, right, bottom in px.
            number: of the window; its sensor noise follows from it.
            bits: 8 or 16; Giemsa has 8 and comes as (h, w, 3), fluorescence as (h, w).
        """
        halo = self._halo()
        wide = _aligned((box[0] - halo, box[1] - halo, box[2] + halo, box[3] + halo))
        rng = np.random.default_rng([*self._key, 6, number + 1])
        exposed = expose(self._light(wide), rng, self._slide.camera, 0.0)
        inner = exposed[:, box[1] - wide[1] : box[3] - wide[1], box[0] - wide[0] : box[2] - wide[0]]
        return self._digitised(inner, bits)

    def cytoplasm(self, box: Box, number: int, bits: int) -> Pixels:
        """The same window in the light of a dye of the cytoplasm, with a hundredth of the nuclei's.

        Its sensor noise has a stream of its own, so that `window` gives the same bytes with and without it.
        """
        stain = self._slide.fluorescence
        if stain is None:
            raise ValueError("a channel of its own for the cytoplasm is a matter of fluorescence")
        halo = self._halo()
        wide = _aligned((box[0] - halo, box[1] - halo, box[2] + halo, box[3] + halo))
        layers = self.layers(wide)
        glow = _CYTOPLASM_DYE * layers[CYTOPLASM] + _BLEED * layers[NUCLEUS]
        light = (stain.exposure * glow + stain.background) * self._lamp(wide)
        rng = np.random.default_rng([*self._key, 15, number + 1])
        exposed = expose(np.asarray(light[None], dtype=np.float32), rng, self._slide.camera, 0.0)
        inner = exposed[:, box[1] - wide[1] : box[3] - wide[1], box[0] - wide[0] : box[2] - wide[0]]
        return self._digitised(inner, bits)

    def layers(self, box: Box) -> FloatArray:
        """Densities of the substances over a window, (LAYERS, h, w)."""
        canvas = np.zeros((LAYERS, box[3] - box[1], box[2] - box[0]), dtype=np.float32)
        for cell in self._scene.within(box):
            stamp = self._stamps.get(cell.order.key, partial(paint_stamp, cell.order, self._slide))
            _lay(canvas, stamp.layers, cell.left + stamp.left - box[0], cell.top + stamp.top - box[1])
        for ghost in self._hazed.ghosts.within(box) if self._hazed else ():
            stamp = self._stamps.get(ghost.order.key, partial(paint_stamp, ghost.order, self._slide))
            _shine_over(canvas, stamp.layers, ghost.left + stamp.left - box[0], ghost.top + stamp.top - box[1])
        for piece in self._pieces(box):
            stamp = self._litter.paint(piece)
            _lay(canvas, stamp.layers, stamp.left - box[0], stamp.top - box[1])
        return canvas

    def _pieces(self, box: Box) -> list[Piece]:
        reach = int(REACH_IN_D * self._scene.diameter) + 1
        columns = range((box[0] - reach) // BLOCK, (box[2] + reach) // BLOCK + 1)
        rows = range((box[1] - reach) // BLOCK, (box[3] + reach) // BLOCK + 1)
        found: list[Piece] = []
        for row in rows:
            for column in columns:
                found += self._blocks.get((column, row), partial(self._litter.block, column, row))
        return [piece for piece in found if piece.reaches(box)]

    def _light(self, box: Box) -> FloatArray:
        size = box[2] - box[0], box[3] - box[1]
        layers, lamp = self.layers(box), self._lamp(box)
        film = sum((weight * part.window(box[0], box[1], *size) for weight, part in self._film), np.float32(0))
        film = np.asarray(film, dtype=np.float32)
        slide = self._slide
        if slide.giemsa is not None and self._vectors is not None:
            drift = self._drift.window(box[0], box[1], *size)
            return absorb(
                layers=layers,
                vectors=self._vectors,
                drift=drift,
                film=film,
                lamp=lamp,
                stain=slide.giemsa,
                camera=slide.camera,
            )
        if slide.fluorescence is None:
            raise ValueError("the slide's stain has neither a Giemsa nor a fluorescence stain")
        light = shine(layers, film, lamp, slide.fluorescence, self._scene.diameter)
        return light if self._hazed is None else light + self._hazed.ground_light(box, slide.fluorescence.exposure)

    def _lamp(self, box: Box) -> FloatArray:
        xs, ys = np.arange(box[0], box[2]), np.arange(box[1], box[3])
        width, height = self._scene.width, self._scene.height
        if self._scanned:
            width = height = SCANNER_FRAME
            xs, ys = xs % SCANNER_FRAME, ys % SCANNER_FRAME
        across = (2 * xs / (width - 1) - 1).astype(np.float32)
        down = (2 * ys / (height - 1) - 1).astype(np.float32)
        shading = illumination_at(across[None, :], down[:, None], self._slide.camera)
        strength = _SCANNER_SHADING if self._scanned else 1.0
        return np.asarray(1 + strength * (shading - 1), dtype=np.float32)

    def _halo(self) -> int:
        """How far light of one pixel reaches into another window, px."""
        stain = self._slide.fluorescence
        haze = 2.5 * stain.haze_width * self._scene.diameter if stain is not None else 0.0
        return int(np.ceil(3 * self._slide.camera.psf + haze)) + 8

    def _digitised(self, exposed: FloatArray, bits: int) -> Pixels:
        stain = self._slide.fluorescence
        if stain is not None and bits == 16:
            counts: Pixels = np.round(stain.offset + exposed[0] * stain.full_scale).astype(np.uint16)
            return counts
        pixels: npt.NDArray[np.uint8] = np.round(exposed * 255.0).astype(np.uint8)
        return pixels[0] if pixels.shape[0] == 1 else np.ascontiguousarray(np.moveaxis(pixels, 0, -1))


@dataclass(frozen=True, slots=True, eq=False)
class Hazed:
    """Light from out of focus: cells far above and below, and the uneven ground."""

    slide: HazySlide
    ghosts: Scene
    ground: SmoothField

    def ground_light(self, box: Box, exposure: float) -> FloatArray:
        """Light of the uneven ground over a window, (h, w), 1 = full range."""
        bumps = self.ground.window(box[0], box[1], box[2] - box[0], box[3] - box[1])
        return np.asarray(exposure * self.slide.ground * (1.0 + 0.7 * np.tanh(bumps)), dtype=np.float32)


class _Recent(Generic[Made]):
    """The last few things that were made, by key."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._made: OrderedDict[Hashable, Made] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        if key not in self._made:
            self._made[key] = make()
        self._made.move_to_end(key)
        if len(self._made) > self._kept:
            self._made.popitem(last=False)
        return self._made[key]


def _meeting(canvas: FloatArray, layers: FloatArray, left: int, top: int) -> tuple[FloatArray, FloatArray] | None:
    """Views of a canvas and of a stamp where they meet, or None."""
    height, width = canvas.shape[1:]
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(width, left + layers.shape[2]), min(height, top + layers.shape[1])
    if x0 >= x1 or y0 >= y1:
        return None
    return canvas[:, y0:y1, x0:x1], layers[:, y0 - top : y1 - top, x0 - left : x1 - left]


def _shine_over(canvas: FloatArray, layers: FloatArray, left: int, top: int) -> None:
    """Add the light of a stamp from another plane."""
    met = _meeting(canvas, layers, left, top)
    if met is not None:
        met[0][:] += met[1]


def _lay(canvas: FloatArray, layers: FloatArray, left: int, top: int) -> None:
    """Add a stamp; where nuclei overlap, a third of the thinner one is added, as within a cell."""
    met = _meeting(canvas, layers, left, top)
    if met is None:
        return
    under, part = met
    there, new = under[NUCLEUS].copy(), part[NUCLEUS]
    under += part
    under[NUCLEUS] = np.maximum(there, new) + 0.35 * np.minimum(there, new)


def _aligned(box: Box) -> Box:
    return box[0] // _ALIGN * _ALIGN, box[1] // _ALIGN * _ALIGN, box[2], box[3]


# A field or a whole slide laid out and ready to be drawn.


_SIZE_SPREAD = 0.14
# Layers and light of a strip take about 100 bytes a pixel while it is drawn.
_STRIP = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """A laid-out field or slide: its cells, its appearance, and what draws it."""

    scene: Scene
    slide: SlideAppearance
    renderer: Renderer

    def whole(self, bits: int) -> Pixels:
        """All of it in one picture: Giemsa (h, w, 3) uint8, fluorescence (h, w) uint8 or uint16."""
        return self._strips(self.renderer.window, bits)

    def cytoplasm(self, bits: int) -> Pixels:
        """All of its cytoplasm channel, (h, w); of fluorescence alone."""
        return self._strips(self.renderer.cytoplasm, bits)

    def _strips(self, draw: Callable[[Box, int, int], Pixels], bits: int) -> Pixels:
        width, height = self.scene.width, self.scene.height
        tops = range(0, height, _STRIP)
        strips = [draw((0, top, width, min(top + _STRIP, height)), top, bits) for top in tops]
        return cast(Pixels, np.concatenate(strips))


def draw_field(plan: FieldPlan, job: SlideJob, number: int) -> Drawing:
    """Lay out one field of a slide; fields of a slide share its appearance, and no cell.

    Args:
        number: of the field, counted from 1; 0 is the whole slide.
    """
    export = plan.export
    slide_key = (export.seed, job.donor, job.number)
    slide = draw_slide_appearance(np.random.default_rng([*slide_key, 0]), slide_stain_of(export, job), export.variety)
    spread = _SIZE_SPREAD * export.variety
    drawn = float(np.random.default_rng([*slide_key, 0, 7]).uniform(1 - spread, 1 + spread))
    diameter = plan.nucleus_px(drawn)
    key = (*slide_key, number, 11)
    conditions = draw_conditions(np.random.default_rng([*key, 1]), plan, diameter)
    hazy = None
    if plan.haze is not None and slide.fluorescence is not None:
        # A stream of its own: without haze the same seed draws the same bytes as ever.
        rng = np.random.default_rng([*slide_key, 0, 12])
        slide, hazy = hazy_appearance(rng, slide, plan.haze), draw_hazy_slide(rng, plan.haze)
    scene = lay_out(
        key=key, donor=job.donor, plan=plan, slide=slide, conditions=conditions, diameter=diameter, hazy=hazy
    )
    litter = Litter(key, scene, slide, conditions, plan.debris)
    hazed = None if hazy is None else _hazed(key, plan, slide, hazy, diameter)
    return Drawing(scene, slide, Renderer(scene, litter, slide, key, scanned=plan.kind == "wsi", hazed=hazed))


def _hazed(key: tuple[int, ...], plan: FieldPlan, slide: SlideAppearance, hazy: HazySlide, diameter: float) -> Hazed:
    ghosts = lay_out_ghosts((*key, 13), plan, slide, hazy, diameter)
    ground = SmoothField(np.random.default_rng([*key, 14]), hazy.ground_width * diameter)
    return Hazed(hazy, ghosts, ground)
