"""Slides: how different they are, and what the typical one is."""

from __future__ import annotations

import numpy as np
import pytest

from mnbatch.assay.cells import STAINS, Stain
from mnbatch.simulate import draw_slide_appearance


@pytest.mark.parametrize("stain", STAINS)
def test_without_variety_all_slides_share_their_shapes(stain: Stain) -> None:
    one, two = (draw_slide_appearance(np.random.default_rng(seed), stain, variety=0.0) for seed in (1, 2))
    assert one == two


@pytest.mark.parametrize("stain", STAINS)
def test_variety_spreads_the_slides(stain: Stain) -> None:
    def spread(variety: float) -> float:
        slides = [draw_slide_appearance(np.random.default_rng(seed), stain, variety) for seed in range(30)]
        return float(np.std([slide.culture.nucleus_fraction for slide in slides]))

    assert 0 < spread(0.3) < spread(1.0)


def test_slide_has_the_stain_of_its_look() -> None:
    rng = np.random.default_rng(1)
    assert draw_slide_appearance(rng, "giemsa").fluorescence is None
    assert draw_slide_appearance(rng, "fluorescence").giemsa is None


def test_unknown_look_and_variety_are_refused() -> None:
    rng = np.random.default_rng(1)
    with pytest.raises(ValueError, match="variety"):
        draw_slide_appearance(rng, "giemsa", 1.5)
    with pytest.raises(ValueError, match="stain"):
        draw_slide_appearance(rng, "unknown")
