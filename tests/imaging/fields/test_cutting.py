"""Crops cut from a field: squares round a cell, filled with the field's background where they reach over its edge."""

import numpy as np
import pytest

from mnbatch.imaging.fields.finding import cut_crop


def field(colour: bool) -> np.ndarray:
    """Dark background (12), a bright nucleus that fills the corner at the lower right."""
    pixels = np.full((200, 300, 3) if colour else (200, 300), 12, np.uint8)
    pixels[120:, 220:] = 220
    return pixels


@pytest.mark.parametrize("colour", [False, True])
def test_what_lies_outside_the_field_is_ground_also_where_a_nucleus_touches_the_edge(colour: bool) -> None:
    pixels = field(colour)
    crop, whole = cut_crop(pixels, 280.0, 180.0, 80)
    assert not whole
    assert crop.shape[:2] == (80, 80)
    np.testing.assert_array_equal(crop[:60, :60], pixels[140:, 240:])
    assert (crop[60:] == 12).all()
    assert (crop[:, 60:] == 12).all()


def test_a_crop_inside_the_field_is_the_field() -> None:
    pixels = field(False)
    crop, whole = cut_crop(pixels, 150.0, 100.0, 40)
    assert whole
    np.testing.assert_array_equal(crop, pixels[80:120, 130:170])
