"""Small labelled data and pools for the tests of training."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnbatch.evaluation.metrics import bootstrap
from mnbatch.training.pool_feed import Pool


def draw_cell(rng: np.random.Generator, with_mn: bool, size: int = 96) -> np.ndarray:
    """A bright disc on dark background, with a small disc beside it or not."""
    ys, xs = np.mgrid[0:size, 0:size]
    middle = size / 2 + rng.normal(0, 2, 2)
    picture = 30 + 150 * (np.hypot(ys - middle[0], xs - middle[1]) < size / 6)
    if with_mn:
        angle = rng.uniform(0, 2 * np.pi)
        y, x = middle + size / 3.6 * np.array([np.sin(angle), np.cos(angle)])
        picture = np.maximum(picture, 180 * (np.hypot(ys - y, xs - x) < size / 16))
    return (picture + rng.normal(0, 4, (size, size))).clip(0, 255).astype(np.uint8)


def draw_crops(place: Path) -> Path:
    """Sixteen grey crops in a new folder, half of them with a micronucleus."""
    rng = np.random.default_rng(3)
    for name, label in (("mn", True), ("nomn", False)):
        folder = place / name
        folder.mkdir(parents=True)
        for number in range(8):
            Image.fromarray(draw_cell(rng, label)).save(folder / f"{number}.png")
    return place


@pytest.fixture
def crop_folder(tmp_path: Path) -> Path:
    return draw_crops(tmp_path / "crops")


def take_few_resamples(patch: pytest.MonkeyPatch) -> None:
    """Intervals from 20 resamples, for tests of something else: a thousand take longer than a tiny training."""
    seed, _ = bootstrap.__defaults__  # type: ignore[misc]
    patch.setattr(bootstrap, "__defaults__", (seed, 20))


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    take_few_resamples(monkeypatch)


@pytest.fixture
def pool() -> Pool:
    """Sixteen one-channel cells of 224 pixels."""
    rng = np.random.default_rng(4)
    labels = np.arange(16) % 2 == 0
    return Pool("labelled", np.stack([draw_cell(rng, bool(v), 224)[..., None] for v in labels]), labels)
