"""Outlines, distances and textures."""

from __future__ import annotations

import numpy as np
import pytest

from mnbatch.simulate.cell_shapes import DIRECTIONS, Outline, blob, envelope, wobble
from mnbatch.simulate.painting import chromatin, noise


def circle(x: float, y: float, radius: float) -> Outline:
    return Outline(x, y, np.full(DIRECTIONS, radius, dtype=np.float32))


def test_depth_of_a_circle_is_the_distance_to_its_edge() -> None:
    xs = np.array([10.0, 14.0, 25.0], dtype=np.float32)
    depth, rho = circle(10, 10, 5).depth(xs, np.full(3, 10, dtype=np.float32))
    assert depth == pytest.approx([5.0, 1.0, -10.0])
    assert rho == pytest.approx([0.0, 0.8, 3.0])


def test_area_of_a_mask_fits_the_mean_radius_and_grows_with_the_zoom() -> None:
    shape = blob(np.random.default_rng(1), 50, 50, 20, aspect=0.7, roughness=0.08)
    assert shape.mask(100).sum() == pytest.approx(np.pi * shape.mean_radius**2, rel=0.02)
    assert shape.mask(200, zoom=2.0).sum() == pytest.approx(4 * shape.mask(100).sum(), rel=0.02)


def test_outline_far_outside_the_picture_has_no_patch() -> None:
    assert circle(-50, 10, 5).patch(100) is None
    assert circle(-4, 10, 5).patch(100) is not None


def test_wobble_has_the_stated_deviation() -> None:
    rng = np.random.default_rng(1)
    spread = np.mean([wobble(rng, 0.1).std() for _ in range(300)])
    assert spread == pytest.approx(0.07, abs=0.02)


@pytest.mark.parametrize("roundness", [0.0, 0.6])
def test_envelope_holds_its_parts(roundness: float) -> None:
    parts = [circle(35, 50, 15), circle(66, 50, 14)]
    cell = envelope(parts, np.full(DIRECTIONS, 4.0, dtype=np.float32), roundness).mask(100)
    for part in parts:
        assert not (part.mask(100) & ~cell).any()


@pytest.mark.parametrize("scale", [1.0, 3.0, 12.0])
def test_noise_is_standard_at_every_scale(scale: float) -> None:
    field = noise(np.random.default_rng(1), (256, 256), scale)
    assert abs(field.mean()) < 0.15
    assert 0.8 < field.std() < 1.2


def test_chromatin_is_bounded() -> None:
    texture = chromatin(np.random.default_rng(1), (80, 60), 8.0, 0.5)
    assert texture.shape == (80, 60)
    assert np.abs(texture).max() <= 1.35
    assert texture.std() > 0.4
