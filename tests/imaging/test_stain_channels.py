"""The channels of colour: nuclei of any hue are nothing in grey, precipitate is; grey crops and dark ones fall back."""

import numpy as np
import pytest

from mnbatch.imaging.preparation import ContrastRule, Preparation, network_input, prepare_crop
from mnbatch.imaging.stain_channels import NUCLEI_LEVEL, ZERO_LEVEL, colourless, stain_channels, stain_vectors
from mnbatch.imaging.stain_recognition import background_of, density, thinned

SIZE = 128
PURPLE, BLUE, RED = (0.5, 0.8, 0.3), (0.9, 0.7, 0.2), (0.3, 0.9, 0.6)


def stained(hue: tuple[float, float, float], background: tuple[int, int, int] = (230, 225, 235)) -> np.ndarray:
    """Two nuclei in pale cytoplasm, a micronucleus at (30, 64) and a black speck at (100, 64) (x, y)."""
    y, x = np.mgrid[:SIZE, :SIZE]

    def disc(at_x: int, at_y: int, radius: int) -> np.ndarray:
        return np.hypot(x - at_x, y - at_y) < radius

    optical = np.zeros((SIZE, SIZE, 3))
    optical[disc(64, 64, 50)] = 0.08 * np.array((0.7, 0.7, 0.4))
    optical[disc(64, 40, 20) | disc(64, 88, 20) | disc(30, 64, 5)] = hue
    optical[disc(100, 64, 5)] = 1.2
    return np.rint(np.array(background) * 10**-optical).astype(np.uint8)


@pytest.mark.parametrize("hue", [PURPLE, BLUE, RED])
@pytest.mark.parametrize("background", [(230, 225, 235), (245, 230, 190)])
def test_a_micronucleus_is_like_its_nuclei_and_a_speck_is_grey(hue, background) -> None:
    channels = stain_channels(stained(hue, background)).astype(float)
    nucleus, micronucleus, speck, glass = channels[40, 64], channels[64, 30], channels[64, 100], channels[2, 2]
    assert nucleus == pytest.approx([NUCLEI_LEVEL, ZERO_LEVEL, ZERO_LEVEL], abs=4)
    assert micronucleus == pytest.approx(nucleus, abs=4)
    assert speck[0] > 1.2 * nucleus[0]
    assert speck[1] > ZERO_LEVEL + 60
    assert glass == pytest.approx([0, ZERO_LEVEL, ZERO_LEVEL], abs=4)


def test_the_direction_of_the_nuclei_is_found_under_precipitate() -> None:
    optical = np.concatenate([np.tile(PURPLE, (300, 1)), np.full((90, 3), 1.5), np.full((1500, 3), 0.02)]).T
    vectors = stain_vectors(optical.astype(np.float32))
    wanted = np.array(PURPLE) / np.linalg.norm(PURPLE)
    assert vectors.nuclei @ wanted > 0.999
    assert not vectors.unicolour


def test_a_grey_crop_has_absorbance_and_no_colour() -> None:
    grey = np.repeat(stained((0.7, 0.7, 0.7), (230, 230, 230)).mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    channels = stain_channels(grey)
    assert (channels[..., 1:] == ZERO_LEVEL).all()
    assert channels[40, 64, 0] == pytest.approx(NUCLEI_LEVEL, abs=6)


def test_an_empty_crop_is_nothing_and_no_error() -> None:
    crop = np.full((SIZE, SIZE, 3), 230, np.uint8)
    crop[56:72, 56:72] = 226
    channels = stain_channels(crop)
    assert (channels[:50, :50, 0] == 0).all()
    assert (channels[..., 1:] == ZERO_LEVEL).all()


def test_on_dark_ground_the_channels_are_the_density_of_old() -> None:
    dark = 255 - stained(PURPLE)
    assert np.array_equal(stain_channels(dark), density(dark))


def test_the_preparation_says_which_input_it_is() -> None:
    crop = stained(BLUE)
    seen = network_input(np.stack([crop, crop]), Preparation(size=SIZE, polarity="stains"))
    assert np.array_equal(seen[1], stain_channels(crop))
    assert not np.array_equal(seen[1], network_input(crop, Preparation(size=SIZE, polarity="density")))


def test_sixteen_bits_of_colour_are_seen_like_eight() -> None:
    crop = stained(PURPLE)
    rule = Preparation(size=SIZE, polarity="stains", contrast=ContrastRule(rule="deep_per_crop"))
    eight, sixteen = (network_input(prepare_crop(c, rule), rule) for c in (crop, crop.astype(np.uint16) * 257))
    away = np.abs(eight.astype(int) - sixteen.astype(int))
    assert np.median(away) <= 2
    assert sixteen[64, 100, 1] > ZERO_LEVEL + 50
    assert abs(int(sixteen[64, 30, 1]) - ZERO_LEVEL) < 15


def _colourless(crop: np.ndarray) -> bool:
    return colourless(crop, background_of(thinned(crop)))


@pytest.mark.parametrize("hue", [PURPLE, BLUE, RED])
def test_a_stained_crop_of_any_hue_has_colour(hue) -> None:
    assert not _colourless(stained(hue))


def test_grey_files_and_their_jpegs_lack_colour_and_dark_ones_miss_none() -> None:
    crop = stained(PURPLE)
    single = crop[..., 1]
    assert _colourless(single)
    assert _colourless(np.repeat(single[..., None], 3, axis=2))
    tinted = np.repeat(single[..., None], 3, axis=2).astype(int) + np.array([2, 0, -2])
    assert _colourless(np.clip(tinted, 0, 255).astype(np.uint8))
    assert not _colourless(255 - single)
