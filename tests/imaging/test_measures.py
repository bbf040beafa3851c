from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from mnbatch.assay.calls import QualityRules, quality_flags
from mnbatch.imaging.preparation import Preparation, prepare_crop
from mnbatch.imaging.quality import measure
from tests.imaging.imaging_helpers import crop_of, draw_cell, encoded, tiff

RULES = QualityRules()


def flags(tmp_path: Path, crop: np.ndarray) -> tuple[str, ...]:
    content = encoded(crop) if crop.dtype == np.uint8 else tiff(crop)
    return quality_flags(crop_of(tmp_path, content, Preparation()).quality, RULES)


@pytest.mark.parametrize("light", [False, True])
def test_an_ordinary_cell_has_two_nuclei_and_no_flag(tmp_path: Path, light: bool) -> None:
    crop = draw_cell(size=200, light=light)
    assert flags(tmp_path, crop) == ()
    quality = measure(prepare_crop(crop, Preparation()))
    assert quality.nuclei == 2
    assert quality.nucleus_fraction == pytest.approx(2 * np.pi * 0.11**2, rel=0.1)


@pytest.mark.parametrize("light", [False, True])
def test_a_blurred_cell_is_flagged(tmp_path: Path, light: bool) -> None:
    crop = draw_cell(size=200, light=light, noise=0).astype(float)
    blurred = ndimage.gaussian_filter(crop, (5, 5, 0) if light else 5)
    assert flags(tmp_path, blurred.astype(np.uint8)) == ("blurred",)


def test_sharpness_follows_the_blur_of_the_outline() -> None:
    """An edge of Gaussian sigma s over a nucleus of diameter d has about d / (s sqrt(2 pi)).

    About, because the blur also lowers the mean inside, to which the gradient is related.
    """
    disc = np.hypot(*(np.mgrid[:224, :224] - 111.5)) < 40
    crop = np.clip(20 + 180 * ndimage.gaussian_filter(disc.astype(float), 6), 0, 255).astype(np.uint8)
    quality = measure(np.repeat(crop[..., None], 3, -1))
    assert quality.sharpness == pytest.approx(80 / (6 * np.sqrt(2 * np.pi)), rel=0.2)


def test_a_weak_stain_is_flagged_although_the_contrast_rule_stretches_it(tmp_path: Path) -> None:
    weak = (draw_cell(size=200, noise=0).astype(float) / 6 + 20).astype(np.uint8)
    assert flags(tmp_path, weak) == ("weak_stain",)


def test_the_bits_of_a_camera_are_no_weak_stain(tmp_path: Path) -> None:
    assert flags(tmp_path, draw_cell(size=200).astype(np.uint16) * 16) == ()


def test_noise_without_a_cell_has_no_nucleus(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(20, 4, (200, 200)).astype(np.uint8)
    assert "no_nucleus" in flags(tmp_path, noise)


def test_four_nuclei_are_several_cells_and_neighbours_at_the_border_are_not(tmp_path: Path) -> None:
    y, x = np.mgrid[:200, :200]

    def discs(*centres: tuple[int, int]) -> np.ndarray:
        inside = np.zeros((200, 200), bool)
        for centre in centres:
            inside |= np.hypot(x - centre[0], y - centre[1]) < 22
        return ndimage.gaussian_filter(np.where(inside, 160.0, 15.0), 0.7).astype(np.uint8)

    assert flags(tmp_path, discs((60, 60), (140, 60), (60, 140), (140, 140))) == ("several_cells",)
    assert flags(tmp_path, discs((70, 100), (130, 100), (5, 5), (195, 195), (195, 5))) == ()


def test_a_micronucleus_is_no_further_nucleus(tmp_path: Path) -> None:
    crop = draw_cell(size=200)
    y, x = np.mgrid[:200, :200]
    crop[np.hypot(x - 100, y - 150) < 7] = 150
    assert flags(tmp_path, crop) == ()


@pytest.mark.parametrize("deep", [False, True])
def test_a_saturated_nucleus_is_flagged(tmp_path: Path, deep: bool) -> None:
    crop = np.clip(draw_cell(size=200).astype(int) * 2, 0, 255).astype(np.uint8)
    assert flags(tmp_path, crop.astype(np.uint16) * 257 if deep else crop) == ("saturated",)


def test_white_ground_is_no_saturation_in_a_stained_cell(tmp_path: Path) -> None:
    crop = np.clip(draw_cell(size=200, light=True).astype(int) + 40, 0, 255).astype(np.uint8)
    assert flags(tmp_path, crop) == ()


def test_ordinary_real_cells_are_rarely_flagged(shared_data: Path) -> None:
    files = sorted((shared_data / "mnfinder/crops/training").glob("*/*.png"))[::5]
    raised: list[str] = []
    for file in files:
        raised += quality_flags(measure(prepare_crop(np.asarray(Image.open(file)), Preparation())), RULES)
    for flag in ("blurred", "weak_stain", "several_cells", "no_nucleus"):
        assert raised.count(flag) < 0.05 * len(files), flag
