"""Fluorescence slides on which the cytoplasm shows: how bright nuclei, cytoplasm, haze and ground are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mnbatch.errors import UsageError
from mnbatch.simulate.slide_appearance import SlideAppearance

_MOST_CYTOPLASM = 0.6
_MOST_SPREAD = 30.0


@dataclass(frozen=True, slots=True)
class Haze:
    """A slide whose cytoplasm shows and whose nuclei differ in brightness.

    Attributes:
        cytoplasm: its light relative to that of a nucleus of middle brightness.
        spread: brightest nucleus / dimmest nucleus; uniform on a logarithmic scale between them.
        ghosts: cells far out of focus, as a share of the cells; they are not in the truth.
    """

    cytoplasm: float = 0.2
    spread: float = 10.0
    ghosts: float = 0.15

    def check(self) -> None:
        """Refuse what cannot be drawn.

        Raises:
            UsageError: a number out of its range.
        """
        if not 0 < self.cytoplasm <= _MOST_CYTOPLASM:
            raise UsageError(
                f"Cytoplasm of {self.cytoplasm:g} of the nuclei's brightness cannot be drawn.",
                f"Use --haze above 0, up to {_MOST_CYTOPLASM:g}.",
            )
        if not 1 <= self.spread <= _MOST_SPREAD:
            raise UsageError(
                f"{self.spread:g} is no ratio of the brightest to the dimmest nucleus.",
                f"Use --brightness-spread from 1 to {_MOST_SPREAD:g}.",
            )
        if not 0 <= self.ghosts <= 1:
            raise UsageError("The share of cells far out of focus is between 0 and 1.", "Give another share.")


@dataclass(frozen=True, slots=True)
class HazySlide:
    """What a slide drew within its haze.

    Attributes:
        haze: as ordered.
        own_share: 1: a cell's cytoplasm is as much brighter as its nuclei are; 0: all cytoplasm is alike. Dye that
            is bound to DNA follows the nucleus, autofluorescence and free dye do not.
        ground, ground_width: uneven light between the cells, relative to a nucleus of middle brightness; distance
            of its bumps, nucleus diameters.
    """

    haze: Haze
    own_share: float
    ground: float
    ground_width: float

    def brightness(self, rng: np.random.Generator) -> tuple[float, float]:
        """Brightness of one cell's nuclei and of its cytoplasm, 1 in the middle."""
        half = 0.5 * np.log(self.haze.spread)
        drawn = float(rng.uniform(-half, half))
        return float(np.exp(drawn)), float(np.exp(self.own_share * drawn))


def draw_hazy_slide(rng: np.random.Generator, haze: Haze) -> HazySlide:
    """Draw how a slide's haze is (ranges assumed, wide enough to hold what published fields show)."""
    return HazySlide(
        haze=haze,
        own_share=float(rng.uniform(0.4, 1.0)),
        ground=float(rng.uniform(0.02, 0.2)),
        ground_width=float(rng.uniform(4.0, 12.0)),
    )


def hazy_appearance(rng: np.random.Generator, slide: SlideAppearance, haze: Haze) -> SlideAppearance:
    """The appearance of a slide with its haze: cytoplasm, light from out of focus, an uneven lamp.

    The camera is set to the bright nuclei, as a person would, so that the brightest ones are near its end.
    """
    stain = slide.fluorescence
    if stain is None:
        return slide
    light = replace(
        stain,
        exposure=float(rng.uniform(0.6, 0.95)) / haze.spread**0.5,
        cytoplasm=haze.cytoplasm,
        haze=float(rng.uniform(0.05, 0.4)),
        haze_width=float(rng.uniform(0.25, 0.9)),
    )
    camera = replace(
        slide.camera, gradient=float(rng.uniform(0.05, 0.4)), vignette=float(rng.uniform(0.05, 0.3)), sharpen=0.0
    )
    return replace(slide, fluorescence=light, camera=camera)
