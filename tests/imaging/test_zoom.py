"""Cells whose nuclei are small in the crop are shown larger, from the pixels of the file."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from mnbatch.assay.cells import CellCrop, ReadTask, SourceFile
from mnbatch.imaging.preparation import Preparation, ZoomRule, prepare, prepare_crop
from mnbatch.imaging.readers import read_cells

RULE = ZoomRule(rule="main_nucleus")
ZOOMED = Preparation(zoom=RULE)


def cell(nucleus: float, size: int = 448, light: bool = False) -> np.ndarray:
    """A nucleus of `nucleus` of the crop's width in the middle, one micronucleus beside it, on even background."""
    ys, xs = (np.mgrid[0:size, 0:size] + 0.5) / size - 0.5
    picture = np.full((size, size), 20.0)
    picture[np.hypot(ys, xs) < nucleus / 2] = 200
    picture[np.hypot(ys, xs - 0.8 * nucleus) < nucleus / 10] = 200
    return (220 - picture if light else picture).astype(np.uint8)


@pytest.mark.parametrize("light", [False, True])
@pytest.mark.parametrize("nucleus", [0.13, 0.16, 0.2])
def test_a_small_nucleus_is_shown_at_the_wanted_width(nucleus: float, light: bool) -> None:
    prepared = prepare(cell(nucleus, light=light), ZOOMED)
    shown = prepare(np.asarray(prepared.image), Preparation()).found.nucleus_width
    assert prepared.zoom == pytest.approx(RULE.wanted / nucleus, rel=0.06)
    assert shown == pytest.approx(RULE.wanted, rel=0.06)


@pytest.mark.parametrize("nucleus", [0.26, 0.4, 0.6])
def test_an_ordinary_crop_is_left_as_it_was_cut(nucleus: float) -> None:
    picture = cell(nucleus)
    assert prepare(picture, ZOOMED).zoom == 1
    np.testing.assert_array_equal(prepare_crop(picture, ZOOMED), prepare_crop(picture, Preparation()))


def test_the_enlarged_part_comes_from_the_pixels_of_the_file_not_of_the_reduced_crop() -> None:
    picture = cell(0.16, size=896)
    prepared = prepare(picture, ZOOMED)
    wanted = round(896 / prepared.zoom)
    first = (896 - wanted) // 2
    middle = picture[first : first + wanted, first : first + wanted]
    np.testing.assert_array_equal(np.asarray(prepared.image.convert("RGB")), prepare_crop(middle, Preparation()))


def test_an_oblong_crop_keeps_its_shorter_side() -> None:
    strip = cell(0.2)[174:274]  # 100 x 448
    prepared = prepare(strip, Preparation(zoom=ZoomRule(rule="main_nucleus", smallest=0.5, wanted=0.6)))
    assert prepared.image.size == (224, 224)
    assert prepared.zoom > 1


def test_without_a_nucleus_nothing_is_enlarged() -> None:
    assert prepare(np.full((300, 300), 40, np.uint8), ZOOMED).zoom == 1


def test_no_more_is_cut_away_than_the_rule_allows() -> None:
    assert RULE.factor(0.01) == RULE.largest_zoom
    assert RULE.factor(0.0) == 1
    assert RULE.factor(RULE.smallest) == 1
    assert ZoomRule().factor(0.1) == 1


def test_limits_of_the_rule_are_checked() -> None:
    for wrong in ({"smallest": 0.0}, {"wanted": 1.0}, {"largest_zoom": 0.5}, {"rule": "guess"}):
        with pytest.raises(ValidationError):
            ZoomRule(**wrong)


def test_quality_is_of_the_whole_crop_and_the_cell_says_how_far_it_was_enlarged(tmp_path: Path) -> None:
    Image.fromarray(cell(0.16)).save(tmp_path / "cell.png")
    file = SourceFile("cell.png", (tmp_path / "cell.png").stat().st_size, 0)
    plain, zoomed = (
        read_cells(ReadTask("slide", tmp_path, file), preparation)[0] for preparation in (Preparation(), ZOOMED)
    )
    assert isinstance(plain, CellCrop)
    assert isinstance(zoomed, CellCrop)
    assert (plain.zoom, plain.quality, plain.stain) == (1.0, zoomed.quality, zoomed.stain)
    assert zoomed.zoom > 1.6
    assert not np.array_equal(plain.pixels, zoomed.pixels)
