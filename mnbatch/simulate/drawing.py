"""One cell painted with its micronuclei and exposed; shared by crops and fields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mnbatch.simulate import camera as optics
from mnbatch.simulate.fluorescence import emit
from mnbatch.simulate.giemsa import transmit
from mnbatch.simulate.look_parts import SlideLook
from mnbatch.simulate.painting import Brush, paint_nucleus
from mnbatch.simulate.plan import MAX_MN, CellPlan
from mnbatch.simulate.shapes import FloatArray, Outline
from mnbatch.simulate.visibility import MIN_CONTRAST, contrasts_of


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


def smallest_mn(frame: Frame, slide: SlideLook) -> float:
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
    slide: SlideLook,
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
            paint_nucleus(stack, brushwork, place, brush, density, sharp)
        exposed = expose(stack, streams.light(), frame, slide)
        drawn = Drawn(stack, exposed, contrasts_of(exposed, places, plan))
        if drawn.visible:
            break
        for i, contrast in enumerate(drawn.contrasts):
            if contrast < MIN_CONTRAST:
                densities[i], focus[i] = densities[i] * 1.4, 1.0
    return drawn


def expose(layers: FloatArray, rng: np.random.Generator, frame: Frame, slide: SlideLook) -> FloatArray:
    """The exposed picture of a crop, (channels, size, size), 0..1.

    Raises:
        ValueError: a look without a stain.
    """
    if slide.giemsa is not None:
        light = transmit(layers, rng, slide.giemsa, slide.camera)
    elif slide.fluorescence is not None:
        light = emit(layers, rng, slide.fluorescence, slide.camera, frame.diameter)
    else:
        raise ValueError("the slide's look has neither a Giemsa nor a fluorescence stain")
    return optics.expose(light, rng, slide.camera, frame.blur)
