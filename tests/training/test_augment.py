"""Augmentation keeps shape and range, repeats for a seed, and moves what it should move."""

import numpy as np
import pytest
import torch

from mnbatch.imaging.stain_channels import ZERO_LEVEL
from mnbatch.training.augmentation import augmented, compressed, degraded, toned, warped
from mnbatch.training.recipe import Augmentation

STILL = Augmentation(
    scale_low=1, scale_high=1, shift=0, gamma=1, contrast=0, brightness=0, blur=0, noise=0, coarse=0, jpeg=0
)


@pytest.fixture
def cells() -> torch.Tensor:
    return torch.rand(6, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("channels", [1, 3])
def test_augmented_keeps_shape_and_range_and_repeats_for_a_seed(cells, channels):
    part = cells[:, :channels]
    settings = Augmentation(jpeg=1.0)
    first = augmented(part, settings, np.random.default_rng(1))
    assert first.shape == part.shape
    assert first.min() >= 0
    assert first.max() <= 1
    assert torch.equal(first, augmented(part, settings, np.random.default_rng(1)))
    assert not torch.equal(first, augmented(part, settings, np.random.default_rng(2)))


def test_nothing_changes_but_the_turn_when_all_ranges_are_empty(cells):
    rng = np.random.default_rng(0)
    for step in (toned, degraded):
        assert torch.allclose(step(cells, STILL, rng), cells, atol=1e-6)
    assert torch.equal(compressed(cells, 0.0, 40, rng), cells)


def test_a_turn_keeps_distances_from_the_middle():
    cell = torch.zeros(1, 1, 65, 65)
    cell[0, 0, 32, 50:53] = 1.0
    for seed in range(5):
        turned = warped(cell, STILL, np.random.default_rng(seed))[0, 0]
        y, x = np.unravel_index(int(turned.argmax()), (65, 65))
        assert np.hypot(y - 32, x - 32) == pytest.approx(19, abs=1.6)


def test_zoom_moves_a_point_outwards():
    cell = torch.zeros(1, 1, 65, 65)
    cell[0, 0, 32, 41:44] = 1.0
    settings = STILL.model_copy(update={"scale_low": 1.5, "scale_high": 1.5000001})
    zoomed = warped(cell, settings, np.random.default_rng(0))[0, 0]
    y, x = np.unravel_index(int(zoomed.argmax()), (65, 65))
    assert np.hypot(y - 32, x - 32) == pytest.approx(15, abs=1.6)


def test_noise_and_jpeg_change_little_of_a_smooth_cell():
    smooth = torch.linspace(0.2, 0.8, 64).expand(2, 1, 64, 64).contiguous()
    rough = degraded(smooth, STILL.model_copy(update={"noise": 0.04}), np.random.default_rng(0))
    assert 0 < (rough - smooth).abs().mean() < 0.04
    coded = compressed(smooth, 1.0, 40, np.random.default_rng(0))
    assert 0 < (coded - smooth).abs().mean() < 0.03


def test_colour_channels_keep_their_zero_and_their_sign():
    cells = torch.full((40, 3, 32, 32), ZERO_LEVEL / 255)
    cells[:, 0] = 0.5
    cells[:, 1] += 0.2
    settings = Augmentation(blur=0, noise=0, coarse=0, coarsest=0.5, jpeg=1.0, clean=0.0, shift=0.0)
    changed = augmented(cells, settings, np.random.default_rng(0), coloured=True)
    assert torch.allclose(changed[:, 2], torch.tensor(ZERO_LEVEL / 255), atol=1e-6)
    strengths = (changed[:, 1].mean(dim=(1, 2)) - ZERO_LEVEL / 255) / 0.2
    assert strengths.min() > 0.74
    assert strengths.max() < 1.26
    assert strengths.std() > 0.05
    assert changed[:, 0].mean(dim=(1, 2)).std() > 0.01


def test_grey_cells_stay_without_colour_and_those_that_are_spared_as_they_are():
    cells = torch.full((40, 3, 32, 32), ZERO_LEVEL / 255)
    cells[:, 0] = 0.5
    settings = STILL.model_copy(update={"noise": 0.05, "clean": 0.5})
    changed = augmented(cells, settings, np.random.default_rng(0), coloured=True)
    assert torch.equal(changed[:, 1:], cells[:, 1:])
    noisy = (changed[:, 0] - 0.5).abs().amax(dim=(1, 2)) > 1e-4
    assert 8 < int(noisy.sum()) < 32
