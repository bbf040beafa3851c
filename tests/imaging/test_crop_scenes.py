"""Crops of two stains in turn, whatever their names: their slide fails; other cells in turn are counted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from mnbatch.assay.cells import CellCrop, Quality
from mnbatch.assay.near_copies import likeness_of
from mnbatch.imaging.crop_scenes import CropScenes
from tests.assay.drawn_thumbnails import body, cell, photographed

PAIRS = 12


def trouble(pictures: Sequence[np.ndarray]) -> str:
    scenes = CropScenes("crops")
    scenes.once([_crop(number, picture) for number, picture in enumerate(pictures)])
    found = scenes.trouble()
    return "" if found is None else str(found)


def _crop(number: int, picture: np.ndarray) -> CellCrop:
    return CellCrop(
        slide_id="s",
        cell_id=f"s:{number}.png",
        source=f"{number}.png",
        page=None,
        pixels=np.repeat(picture[..., None], 3, axis=2),
        digest=str(number),
        stain="fluorescence",
        quality=Quality(1.0, 0.4, 0.0, 2, 0.2),
        likeness=likeness_of(picture),
    )


def both(seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    cells = [cell(rng) for _ in range(PAIRS)]
    return [photographed(one, rng) for one in cells], [photographed(body(one), rng) for one in cells]


@pytest.mark.parametrize("dark", [False, True])
def test_two_stains_of_the_same_cells_in_turn_are_asked_about(dark: bool) -> None:
    nuclei, bodies = both(1)
    bodies = [255 - one for one in bodies] if dark else bodies
    in_turn = [picture for pair in zip(nuclei, bodies, strict=True) for picture in pair]
    assert "same cells 2 times (0.png and 1.png)" in trouble(in_turn)
    # Of pictures of two kinds neighbours are alike, too; either way the slide fails.
    assert "same cells 2 times (0.png and " in trouble([*nuclei, *bodies])


def test_other_cells_in_turn_are_counted() -> None:
    for seed in range(4):
        nuclei, _ = both(10 + seed)
        _, bodies = both(20 + seed)
        others, _ = both(30 + seed)
        for second in (bodies, others):
            assert trouble([picture for pair in zip(nuclei, second, strict=True) for picture in pair]) == ""
