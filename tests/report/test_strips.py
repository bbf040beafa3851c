"""Crops joined without decoding are the crops."""

import io

import numpy as np
import pytest
from PIL import Image

from mnbatch.report.gallery_page import CROPS_A_STRIP, strips
from mnbatch.results.stored_crops import encode_crop


def crop(seed: int, size: int, grey: bool) -> bytes:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    image = 120 + 80 * np.sin(x / (9 + seed)) * np.cos(y / 13) + rng.normal(0, 6, (size, size))
    channels = [image, image, image] if grey else [image, image[::-1], image.T]
    return encode_crop(np.clip(np.stack(channels, axis=-1), 0, 255).astype(np.uint8))


def picture(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)), dtype=int)


@pytest.mark.parametrize(("size", "grey"), [(224, True), (224, False), (100, True), (100, False)])
def test_each_crop_comes_back_out_of_its_strip(size, grey):
    jpegs = [crop(seed, size, grey) for seed in range(5)]
    (strip,) = strips(jpegs)
    assert (strip.number, strip.width, strip.height) == (5, size, size)
    whole = picture(strip.data)
    for k, jpeg in enumerate(jpegs):
        part, alone = whole[k * strip.pitch : k * strip.pitch + size], picture(jpeg)
        # Colour is stored at half height; at a seam a decoder may mix its rows, inside it has the same to work with.
        inside = slice(0, size) if grey else slice(2, size - 2)
        assert (part[inside] == alone[inside]).all()


def test_a_strip_is_smaller_than_its_crops():
    jpegs = [crop(seed, 224, True) for seed in range(4)]
    assert len(strips(jpegs)[0].data) < sum(map(len, jpegs))


def test_strips_end_where_the_form_changes_and_when_they_are_full():
    jpegs = [crop(1, 224, True)] * (CROPS_A_STRIP + 1) + [crop(2, 224, False)] * 2
    assert [strip.number for strip in strips(jpegs)] == [CROPS_A_STRIP, 1, 2]
    assert strips([]) == []


def test_a_picture_that_cannot_be_joined_stays_alone():
    buffer = io.BytesIO()
    Image.open(io.BytesIO(crop(1, 64, True))).save(buffer, "JPEG", progressive=True)
    progressive = buffer.getvalue()
    found = strips([crop(1, 64, True), progressive, crop(2, 64, True)])
    assert [strip.number for strip in found] == [1, 1, 1]
    assert found[1].data == progressive
