from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from mnbatch.imaging.preparation import (
    ContrastRule,
    Preparation,
    PreparationError,
    network_input,
    percentile_range,
    prepare_crop,
)
from tests.imaging.imaging_helpers import draw_cell

PLAIN = Preparation(contrast=ContrastRule(rule="none"))
STRETCHED = Preparation(contrast=ContrastRule(rule="per_crop", low_percentile=1, high_percentile=99))
DENSITY = Preparation(polarity="density")


def test_a_crop_is_padded_to_a_square_and_never_stretched() -> None:
    crop = np.full((40, 80), 200, np.uint8)
    crop[1:-1, 1:-1] = 20  # only the border is 200, so padding is 200
    prepared = prepare_crop(crop, Preparation(size=80, contrast=ContrastRule(rule="none")))
    assert prepared.shape == (80, 80, 3)
    np.testing.assert_array_equal(prepared[20:60, :, 0], crop)
    assert (prepared[:20] == 200).all()
    assert (prepared[60:] == 200).all()


def test_padding_has_the_colour_of_the_border() -> None:
    crop = np.zeros((30, 60, 3), np.uint8)
    crop[...] = (10, 200, 90)
    crop[10:20, 20:40] = 0
    prepared = prepare_crop(crop, PLAIN)
    assert tuple(prepared[0, 0]) == (10, 200, 90)


def test_resizing_is_pillows_bicubic() -> None:
    crop = draw_cell(light=True)
    expected = np.asarray(Image.fromarray(crop).resize((224, 224), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(prepare_crop(crop, PLAIN), expected)


def test_grey_stored_as_colour_is_prepared_like_grey() -> None:
    grey = draw_cell()
    np.testing.assert_array_equal(
        prepare_crop(grey, STRETCHED), prepare_crop(np.repeat(grey[..., None], 3, -1), STRETCHED)
    )


def test_the_contrast_of_a_crop_does_not_depend_on_depth_or_gain() -> None:
    grey = draw_cell()
    reference = prepare_crop(grey, STRETCHED).astype(int)
    for other in (grey.astype(np.uint16) * 16 + 100, grey.astype(np.float32) / 7 - 3):
        assert np.abs(prepare_crop(other, STRETCHED) - reference).max() <= 1


def test_contrast_keeps_colours() -> None:
    crop = draw_cell(light=True) // 2
    low, high = percentile_range(crop, 1, 99)
    expected = np.clip((crop.astype(float) - low) * 255 / (high - low), 0, 255)
    prepared = prepare_crop(crop, STRETCHED.model_copy(update={"size": 96}))
    assert np.abs(prepared - expected).max() <= 1


def test_percentiles_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    for values in (rng.integers(0, 256, (50, 40), dtype=np.uint8), rng.normal(size=(50, 40))):
        expected = np.percentile(values, [2.5, 97], method="inverted_cdf")
        assert percentile_range(values, 2.5, 97) == tuple(map(float, expected))


def test_a_crop_with_one_bright_speck_keeps_it() -> None:
    crop = np.zeros((64, 64), np.uint8)
    crop[30, 30] = 9
    assert percentile_range(crop, 1, 99) == (0.0, 9.0)


def test_per_slide_takes_the_range_of_the_slide() -> None:
    rule = Preparation(size=32, contrast=ContrastRule(rule="per_slide"))
    crop = np.linspace(0, 1000, 32 * 32).reshape(32, 32).astype(np.uint16)
    prepared = prepare_crop(crop, rule, (0.0, 2000.0))
    assert int(prepared.max()) == 128  # 1000 / 2000 * 255, rounded
    with pytest.raises(PreparationError):
        prepare_crop(crop, rule)


def test_extreme_floating_point_values_do_not_overflow() -> None:
    crop = np.linspace(-3e38, 3e38, 32 * 32).reshape(32, 32).astype(np.float32)
    prepared = prepare_crop(crop, Preparation(size=32))
    assert (prepared.min(), prepared.max()) == (0, 255)


def test_a_long_strip_needs_no_huge_square() -> None:
    strip = np.random.default_rng(0).integers(0, 255, (16, 100_000), dtype=np.uint8)
    assert prepare_crop(strip, PLAIN).shape == (224, 224, 3)


def test_the_digest_changes_with_every_setting() -> None:
    others = [
        Preparation(size=225),
        Preparation(polarity="density"),
        Preparation(contrast=ContrastRule(rule="none")),
        Preparation(contrast=ContrastRule(low_percentile=0.6)),
    ]
    assert len({setting.digest() for setting in [Preparation(), *others]}) == 5
    assert Preparation().digest() == Preparation.model_validate(Preparation().model_dump()).digest()


@pytest.mark.parametrize("percentiles", [(50, 50), (-1, 99), (1, 101)])
def test_impossible_percentiles_are_refused(percentiles: tuple[float, float]) -> None:
    with pytest.raises(ValidationError):
        ContrastRule(low_percentile=percentiles[0], high_percentile=percentiles[1])


def test_as_is_changes_nothing() -> None:
    pixels = prepare_crop(draw_cell(), PLAIN)
    assert network_input(pixels, PLAIN) is pixels


@pytest.mark.parametrize("light", [False, True])
def test_density_has_dark_ground_and_bright_nuclei_for_both_looks(light: bool) -> None:
    pixels = prepare_crop(draw_cell(light=light), PLAIN)
    seen = network_input(pixels, DENSITY)
    assert seen.shape == pixels.shape
    assert seen.dtype == np.uint8
    assert np.median(seen[:20]) < 12
    nucleus = seen[112, int(0.36 * 224)]
    assert nucleus.mean() > 180


def test_density_on_light_ground_is_the_optical_density_of_each_channel() -> None:
    pixels = prepare_crop(draw_cell(light=True, noise=0), PLAIN)
    seen = network_input(pixels, DENSITY).astype(float)
    optical = np.log10(pixels[0, 0] + 1.0) - np.log10(pixels[112, 80] + 1.0)
    # Green absorbs most and is clipped at 255 here; red and blue keep their proportion.
    assert seen[112, 80, 1] == 255
    assert seen[112, 80, 0] / seen[112, 80, 2] == pytest.approx(optical[0] / optical[2], rel=0.02)


def test_density_does_not_depend_on_the_colour_of_a_fluorescent_picture() -> None:
    grey = prepare_crop(draw_cell(), PLAIN)
    blue = grey * np.array([0, 0, 1], np.uint8)
    np.testing.assert_array_equal(network_input(grey, DENSITY), network_input(blue, DENSITY))


def test_density_takes_any_leading_shape() -> None:
    crops = np.stack([prepare_crop(draw_cell(seed=seed), PLAIN) for seed in range(4)])
    seen = network_input(crops.reshape(2, 2, 224, 224, 3), DENSITY)
    assert seen.shape == (2, 2, 224, 224, 3)
    for index in range(4):
        np.testing.assert_array_equal(seen[index // 2, index % 2], network_input(crops[index], DENSITY))


def test_density_of_an_even_crop_is_nothing() -> None:
    assert not network_input(np.full((224, 224, 3), 90, np.uint8), DENSITY).any()
