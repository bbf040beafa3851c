"""A field or a whole slide laid out and ready to be drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from mnbatch.simulate.export_plan import SlideJob, slide_look_of
from mnbatch.simulate.fields.litter import Litter
from mnbatch.simulate.fields.placing import draw_ground, lay_out
from mnbatch.simulate.fields.plan import FieldPlan
from mnbatch.simulate.fields.render import Pixels, Renderer
from mnbatch.simulate.fields.scene import Scene
from mnbatch.simulate.look_parts import SlideLook
from mnbatch.simulate.looks import draw_slide_look

_SIZE_SPREAD = 0.14
# Layers and light of a strip take about 100 bytes a pixel while it is drawn.
_STRIP = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """A laid-out field or slide: its cells, its appearance, and what draws it."""

    scene: Scene
    slide: SlideLook
    renderer: Renderer

    def whole(self, bits: int) -> Pixels:
        """All of it in one picture: Giemsa (h, w, 3) uint8, fluorescence (h, w) uint8 or uint16."""
        width, height = self.scene.width, self.scene.height
        tops = range(0, height, _STRIP)
        strips = [self.renderer.window((0, top, width, min(top + _STRIP, height)), top, bits) for top in tops]
        return cast(Pixels, np.concatenate(strips))


def draw_field(plan: FieldPlan, job: SlideJob, number: int) -> Drawing:
    """Lay out one field of a slide; fields of a slide share its appearance, and no cell.

    Args:
        number: of the field, counted from 1; 0 is the whole slide.
    """
    export = plan.export
    slide_key = (export.seed, job.donor, job.number)
    slide = draw_slide_look(np.random.default_rng([*slide_key, 0]), slide_look_of(export, job), export.variety)
    spread = _SIZE_SPREAD * export.variety
    drawn = float(np.random.default_rng([*slide_key, 0, 7]).uniform(1 - spread, 1 + spread))
    diameter = plan.nucleus_px(drawn)
    key = (*slide_key, number, 11)
    ground = draw_ground(np.random.default_rng([*key, 1]), plan, diameter)
    scene = lay_out(key, job.donor, plan, slide, ground, diameter)
    litter = Litter(key, scene, slide, ground, plan.debris)
    return Drawing(scene, slide, Renderer(scene, litter, slide, key, scanned=plan.kind == "wsi"))
