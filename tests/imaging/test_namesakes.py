"""Images that differ in their extension alone: the same picture is counted once, another one is never lost."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.namesakes import shows_the_same
from tests.campaign.mutations import crops


def saved(picture: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def grey(number: int) -> np.ndarray:
    picture = crops("fluorescence", number)
    return picture.mean(axis=2).astype(np.uint8) if picture.ndim == 3 else picture


@pytest.mark.parametrize("number", range(6))
def test_previews_show_the_same(number: int) -> None:
    picture = grey(number)
    deep = picture.astype(np.uint16) * 200 + 3000
    stretched = np.clip((picture.astype(float) - np.percentile(picture, 5)) * 2.5, 0, 255).astype(np.uint8)
    blue = np.zeros((*picture.shape, 3), np.uint8)
    blue[..., 2] = picture
    half = np.asarray(Image.fromarray(picture).resize([side // 2 for side in picture.shape[::-1]]))
    dark = (255 * (picture / 255.0) ** 2.2).astype(np.uint8)
    for preview in (
        picture,
        saved(picture, 75),
        saved(stretched, 85),
        saved(blue, 85),
        saved(half, 85),
        saved(dark, 90),
    ):
        assert shows_the_same(picture, preview)
        assert shows_the_same(deep, preview)


def test_other_cells_do_not() -> None:
    number = 12
    pictures = [grey(one) for one in range(number)]
    for one in range(number):
        for other in range(one):
            assert not shows_the_same(pictures[one], pictures[other])


def test_blank_pictures_are_alike() -> None:
    noise = np.random.default_rng(1)
    blank = [np.clip(noise.normal(20, 1, (1024, 1024)), 0, 255).astype(np.uint8) for _ in range(2)]
    assert shows_the_same(*blank)


def test_two_whole_slides_of_one_stem_are_both_listed(tmp_path: Path) -> None:
    for name in ("S1.svs", "S1.tif", "S2.svs"):
        (tmp_path / name).write_bytes(name.encode())
    found = {slide.path: slide.refused is not None for slide in find_slides(tmp_path, kind="wsi")}
    assert found == {"S1.svs": False, "S1.tif": True, "S2.svs": False}
