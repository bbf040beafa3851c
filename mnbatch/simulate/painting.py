"""Painting of a planned cell as densities: how much of each substance is over each pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from mnbatch.simulate.cell_plan import CellPlan
from mnbatch.simulate.cell_shapes import FloatArray, Outline, Patch, blob
from mnbatch.simulate.slide_appearance import CultureAppearance

# Random textures: smooth noise at stated scales, chromatin, cytoplasm.


# A bicubic stretch of white noise has a standard deviation of about 0.78; this brings it back to 1.
_STRETCH_GAIN = 1.28


def noise(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> FloatArray:
    """Smooth Gaussian noise, mean 0, standard deviation about 1, with bumps about `scale` px apart."""
    height, width = shape
    if scale <= 1.05:
        return rng.standard_normal((height, width), dtype=np.float32)
    rows, columns = int(height / scale) + 4, int(width / scale) + 4
    grid = rng.standard_normal((rows, columns), dtype=np.float32)
    x, y = 1 + rng.random(), 1 + rng.random()
    box = (x, y, x + width / scale, y + height / scale)
    stretched = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC, box=box)
    return np.asarray(np.asarray(stretched) * _STRETCH_GAIN, dtype=np.float32)


def chromatin(rng: np.random.Generator, shape: tuple[int, int], scale: float, reticulated: float) -> FloatArray:
    """Chromatin density around 0, standard deviation about 1, bounded.

    Args:
        scale: distance of the coarse clumps, px.
        reticulated: 0 for cloudy clumps, 1 for a net of strands (ridges where smooth noise crosses zero).
    """
    coarse = noise(rng, shape, scale)
    middle = noise(rng, shape, max(1.0, scale / 2.1))
    fine = noise(rng, shape, max(1.0, scale / 4.5))
    cloudy = 0.62 * coarse + 0.55 * middle + 0.35 * fine
    if reticulated > 0:
        strands = 1.7 * (0.62 - np.abs(middle)) + 0.45 * coarse + 0.3 * fine
        cloudy = (1 - reticulated) * cloudy + reticulated * strands
    return np.asarray((1.35 * np.tanh(0.8 * cloudy)), dtype=np.float32)


def speckle(rng: np.random.Generator, shape: tuple[int, int], scale: float, share: float) -> FloatArray:
    """Granules, 0..1: peaks of smooth noise above the quantile that leaves about `share` of the area."""
    field = noise(rng, shape, scale)
    # Normal quantile for the small shares used here, within 3 % (Abramowitz and Stegun 26.2.22).
    t = np.sqrt(-2.0 * np.log(min(max(share, 1e-4), 0.5)))
    level = t - (2.30753 + 0.27061 * t) / (1 + 0.99229 * t + 0.04481 * t * t)
    return np.asarray(np.clip((field - level) * 2.5, 0.0, 1.0), dtype=np.float32)


# Painting of a planned cell as densities: how much of each substance lies over each pixel.
#
# A picture is a stack of layers, float32 (LAYERS, size, size). Both stains are made from the same stack: light
# absorbed by it (Giemsa) or emitted by it (fluorescence). Density 1 of the nucleus layer is a typical main
# nucleus of the slide.


NUCLEUS, CYTOPLASM, GRANULE, DARK, RED = range(5)
LAYERS = 5


@dataclass(frozen=True, slots=True)
class Brush:
    """How one cell is painted: the slide's texture with this cell's deviations.

    Attributes:
        density: of its nuclei, relative to the slide; cyto_density: of its cytoplasm.
        softness: width of nuclear edges, px.
    """

    culture: CultureAppearance
    diameter: float
    density: float
    cyto_density: float
    softness: float


def empty_layers(size: int) -> FloatArray:
    """A clean slide."""
    return np.zeros((LAYERS, size, size), dtype=np.float32)


def cell_brush(rng: np.random.Generator, culture: CultureAppearance, diameter: float, weak: bool) -> Brush:
    """The deviations of one cell from its slide; `weak` takes away a third to two thirds of the stain."""
    weakness = float(rng.uniform(0.33, 0.65))
    strength = weakness if weak else 1.0
    return Brush(
        culture=culture,
        diameter=diameter,
        density=strength * float(np.exp(rng.normal(0, 0.1))),
        cyto_density=(0.5 + 0.5 * strength) * float(np.exp(rng.normal(0, 0.2))),
        softness=max(0.8, culture.softness * diameter * float(np.exp(rng.normal(0, 0.2)))),
    )


def paint_cell(layers: FloatArray, rng: np.random.Generator, plan: CellPlan, brush: Brush) -> None:
    """Cytoplasm, nuclei, buds and bridge of one cell; everything but its micronuclei."""
    paint_cytoplasm(layers, rng, plan, brush)
    dense = 1.35 if plan.kind == "apoptotic" else 1.0
    # Sister nuclei condense alike.
    for nucleus in plan.nuclei:
        paint_nucleus(layers, rng, nucleus, brush, dense * float(np.exp(rng.normal(0, 0.04))))
    for bud in plan.buds:
        paint_nucleus(layers, rng, bud, brush, float(rng.uniform(0.75, 1.0)))
    if plan.bridge is not None:
        _paint_bridge(layers, rng, plan.bridge, brush)


def paint_nucleus(
    layers: FloatArray,
    rng: np.random.Generator,
    outline: Outline,
    brush: Brush,
    density: float,
    focus: float = 1.0,
) -> None:
    """One nuclear body: chromatin texture, rim, dome, nucleoli; overlap with what is there adds a third.

    Args:
        density: relative to the cell's nuclei.
        focus: factor on the width of the edge; above 1 the body lies out of focus.
    """
    size = layers.shape[1]
    softness = min(brush.softness * focus, outline.mean_radius)
    patch = outline.patch(size, softness + 1.0)
    if patch is None:
        return
    culture, d = brush.culture, brush.diameter
    texture = chromatin(rng, patch.shape, max(2.0, culture.clump * d), culture.reticulated)
    # Small bodies show less of the texture than large ones.
    contrast = culture.contrast * min(1.0, 0.35 + outline.mean_radius / (0.5 * d) * 0.65) / max(1.0, focus)
    body = 1.0 + contrast * texture
    body += culture.rim * np.exp(-((patch.depth / (0.06 * d + 0.5)) ** 2))
    body *= 1.0 - culture.dome * np.clip(patch.rho, 0.0, 1.0) ** 2.5 + 0.4 * culture.dome
    if outline.mean_radius > 0.3 * d:
        _lighten_nucleoli(body=body, rng=rng, outline=outline, patch=patch, culture=culture, d=d)
    body = (patch.cover(softness) * np.clip(body, 0.05, 2.5) * (brush.density * density)).astype(np.float32)
    there = layers[NUCLEUS][patch.box]
    layers[NUCLEUS][patch.box] = np.maximum(there, body) + 0.35 * np.minimum(there, body)


def _lighten_nucleoli(
    body: FloatArray, rng: np.random.Generator, outline: Outline, patch: Patch, culture: CultureAppearance, d: float
) -> None:
    for _ in range(int(rng.poisson(culture.nucleoli))):
        x, y = outline.at(float(rng.uniform(0, 2 * np.pi)), 0.7 * float(np.sqrt(rng.random())))
        x0, y0 = patch.box[1].start, patch.box[0].start
        spot = blob(rng, x - x0, y - y0, d * rng.uniform(0.05, 0.12), aspect=rng.uniform(0.6, 1), roughness=0.1)
        depth, _ = spot.depth(
            np.arange(patch.shape[1], dtype=np.float32)[None, :],
            np.arange(patch.shape[0], dtype=np.float32)[:, None],
        )
        edge = max(1.5, 0.06 * d)
        body *= 1.0 - rng.uniform(0.1, 0.45) * np.clip(depth / edge + 0.5, 0.0, 1.0)


def _paint_bridge(
    layers: FloatArray,
    rng: np.random.Generator,
    bridge: tuple[float, float, float, float, float],
    brush: Brush,
) -> None:
    x0, y0, x1, y1, width = bridge
    paint_stroke(
        layer=layers[NUCLEUS],
        start=(x0, y0),
        end=(x1, y1),
        half_width=width / 2,
        density=0.7 * brush.density,
        bend=float(rng.normal(0, 0.06)),
        largest=True,
    )


def paint_stroke(
    layer: FloatArray,
    start: tuple[float, float],
    end: tuple[float, float],
    half_width: float,
    density: float,
    bend: float = 0.0,
    *,
    largest: bool = False,
) -> None:
    """A soft-edged, slightly bent line; `bend` is the height of the arc relative to its length."""
    size = layer.shape[0]
    (x0, y0), (x1, y1) = start, end
    length = max(1.0, float(np.hypot(x1 - x0, y1 - y0)))
    pad = half_width + abs(bend) * length + 2.0
    left, right = max(0, int(min(x0, x1) - pad)), min(size, int(max(x0, x1) + pad) + 1)
    top, bottom = max(0, int(min(y0, y1) - pad)), min(size, int(max(y0, y1) + pad) + 1)
    if left >= right or top >= bottom:
        return
    xs = np.arange(left, right, dtype=np.float32)[None, :] - x0
    ys = np.arange(top, bottom, dtype=np.float32)[:, None] - y0
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    along = (xs * ux + ys * uy) / length
    inside = np.clip(along, 0.0, 1.0)
    across = -xs * uy + ys * ux - 4 * bend * length * inside * (1 - inside)
    distance = np.hypot(across, (along - inside) * length)
    cover = np.clip(half_width - distance + 0.5, 0.0, 1.0) * density
    box = (slice(top, bottom), slice(left, right))
    layer[box] = np.maximum(layer[box], cover) if largest else layer[box] + cover


def paint_cytoplasm(layers: FloatArray, rng: np.random.Generator, plan: CellPlan, brush: Brush) -> None:
    """Cytoplasm with texture, a denser edge, a halo around the nuclei, granules and vacuoles."""
    size = layers.shape[1]
    culture, d = brush.culture, brush.diameter
    softness = max(1.0, culture.cyto_softness * d)
    patch = plan.cell.patch(size, softness + 1)
    if patch is None:
        return
    texture = noise(rng, patch.shape, max(1.5, culture.cyto_scale * d))
    texture += 0.6 * noise(rng, patch.shape, max(1.2, 0.4 * culture.cyto_scale * d))
    texture += 0.8 * noise(rng, patch.shape, 0.7 * d)
    body = np.asarray(1.0 + culture.cyto_contrast * 0.7 * np.tanh(texture), dtype=np.float32)
    body += culture.cyto_rise * (np.clip(patch.rho, 0.0, 1.0) ** 3 - 0.4)
    body += culture.cyto_edge * np.exp(-(((patch.depth - 0.02 * d) / (0.02 * d + 0.8)) ** 2))
    if culture.halo > 0.12:
        body *= np.float32(1.0) - culture.halo * _nearness(plan.nuclei, patch, 0.09 * d)
    cover = patch.cover(softness)
    _vacuoles(body=body, rng=rng, plan=plan, patch=patch, culture=culture, d=d)
    layers[CYTOPLASM][patch.box] += cover * np.clip(body, 0.05, 3.0) * np.float32(brush.cyto_density)
    if rng.random() < culture.granules:
        grains = speckle(rng, patch.shape, max(1.2, d * rng.uniform(0.012, 0.035)), rng.uniform(0.02, 0.14))
        layers[GRANULE][patch.box] += cover * grains * np.float32(rng.uniform(0.08, 0.35))


def _nearness(nuclei: tuple[Outline, ...], patch: Patch, width: float) -> FloatArray:
    xs = np.arange(patch.box[1].start, patch.box[1].stop, dtype=np.float32)[None, :]
    ys = np.arange(patch.box[0].start, patch.box[0].stop, dtype=np.float32)[:, None]
    near = np.zeros(patch.shape, dtype=np.float32)
    for nucleus in nuclei:
        # A circle is close enough for a soft halo, and much cheaper than the outline.
        gap = np.hypot(xs - nucleus.x, ys - nucleus.y) - nucleus.mean_radius
        near = np.maximum(near, np.exp(-((np.maximum(gap, 0.0) / width) ** 2)))
    return near


def _vacuoles(
    body: FloatArray, rng: np.random.Generator, plan: CellPlan, patch: Patch, culture: CultureAppearance, d: float
) -> None:
    for _ in range(min(8, int(rng.poisson(culture.vacuoles)))):
        x, y = plan.cell.at(float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.3, 0.92)))
        radius = d * float(rng.uniform(0.03, 0.11))
        if any(np.hypot(x - p.x, y - p.y) < p.reach + radius + 1 for p in plan.places):
            continue
        xs = np.arange(patch.box[1].start, patch.box[1].stop, dtype=np.float32)[None, :] - x
        ys = np.arange(patch.box[0].start, patch.box[0].stop, dtype=np.float32)[:, None] - y
        depth = radius - np.sqrt(xs * xs + ys * ys)
        body *= 1.0 - rng.uniform(0.5, 0.95) * np.clip(depth / 1.5 + 0.5, 0.0, 1.0)
        body += rng.uniform(0.0, 0.5) * np.exp(-((depth / 1.2) ** 2))
