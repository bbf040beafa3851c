from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnbatch.imaging.preparation import Preparation, prepare_crop
from mnbatch.imaging.stain_recognition import recognise_stain, slide_stain
from tests.imaging.imaging_helpers import draw_cell


def stain(crop: np.ndarray) -> str:
    return recognise_stain(prepare_crop(crop, Preparation()))


@pytest.mark.parametrize("seed", range(5))
def test_both_looks_are_recognised(seed: int) -> None:
    assert stain(draw_cell(seed=seed)) == "fluorescence"
    assert stain(draw_cell(seed=seed, light=True)) == "giemsa"


def test_pseudo_coloured_fluorescence_is_fluorescence() -> None:
    grey = draw_cell()
    assert stain(np.dstack([np.zeros_like(grey), np.zeros_like(grey), grey])) == "fluorescence"


def test_a_picture_on_middle_grey_is_unknown() -> None:
    crop = np.full((224, 224, 3), 120, np.uint8)
    crop[90:130, 90:130] = 40
    assert recognise_stain(crop) == "unknown"


def test_a_plain_picture_is_unknown() -> None:
    assert recognise_stain(np.full((224, 224, 3), 240, np.uint8)) == "unknown"


def test_a_slide_looks_like_the_clear_majority_of_its_cells() -> None:
    assert slide_stain(["giemsa"] * 8 + ["unknown"] * 2) == "giemsa"
    assert slide_stain(["giemsa"] * 6 + ["fluorescence"] * 4) == "unknown"
    assert slide_stain([]) == "unknown"


def test_real_fluorescence_crops_are_recognised(shared_data: Path) -> None:
    files = sorted((shared_data / "mnfinder/crops/validation").glob("*/*.png"))
    stains = [stain(np.asarray(Image.open(file))) for file in files]
    assert stains.count("fluorescence") >= 0.98 * len(stains) > 0


def test_real_stained_crops_are_recognised(shared_data: Path) -> None:
    files = sorted((shared_data / "wbc-tecom").glob("*.bmp"))[::5]
    stains = [stain(np.asarray(Image.open(file).convert("RGB"))) for file in files]
    assert stains.count("giemsa") >= 0.98 * len(stains) > 0
