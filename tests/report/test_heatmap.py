import base64
import io

import numpy as np
import pytest
from PIL import Image

from mnbatch.assay.cells import spread
from mnbatch.assay.map_grid import map_box
from mnbatch.report import page_pictures


def rgba(uri: str) -> np.ndarray:
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    return np.array(Image.open(io.BytesIO(data)).convert("RGBA")).astype(int)


def spot(x: int, y: int, value: float = 1.0) -> np.ndarray:
    grid = np.zeros((13, 13), np.float32)
    grid[y, x] = value
    return grid


@pytest.mark.parametrize(("x", "y"), [(0, 0), (6, 6), (12, 3), (11, 12)])
def test_a_position_is_drawn_at_the_centre_of_its_receptive_field(x: int, y: int) -> None:
    alpha = rgba(page_pictures.attention_png(spot(x, y)))[..., 3].astype(float)
    start, width = map_box(224, 13)
    points = (np.arange(len(alpha)) + 0.5) / len(alpha) * width * 224 + start * 224
    peak = alpha == alpha.max()
    assert points[peak.any(axis=0)].mean() == pytest.approx(15 + 16 * x, abs=4.1)
    assert points[peak.any(axis=1)].mean() == pytest.approx(15 + 16 * y, abs=4.1)


def test_smoothing_keeps_the_sum_also_at_the_edges() -> None:
    grid = np.random.default_rng(0).normal(size=(13, 13)).astype(np.float32)
    assert spread(grid).sum() == pytest.approx(grid.sum(), abs=1e-4)


def test_smoothing_hides_the_pattern_of_the_coarse_stream() -> None:
    grid = np.zeros((13, 13), np.float32)
    grid[1:12:2, 1:12:2] = 1
    inner = spread(grid)[2:11, 2:11]
    assert inner.std() < 1e-9


def test_evidence_for_is_red_against_is_blue_and_none_is_clear() -> None:
    # Half the image for MN, half against: their middles are untouched by smoothing.
    grid = np.zeros((13, 13), np.float32)
    grid[:, :4], grid[:, 9:] = 1, -1
    image = rgba(page_pictures.evidence_png(grid, 1.0))
    for_mn, none, against = image[26, 4], image[26, 26], image[26, -4]
    assert for_mn[0] > for_mn[2]
    assert against[2] > against[0]
    assert none[3] == 0
    assert min(for_mn[3], against[3]) > 100


def test_beyond_the_limit_the_colour_stays() -> None:
    flat = np.ones((13, 13), np.float32)
    assert page_pictures.evidence_png(flat, 1.0) == page_pictures.evidence_png(flat * 50, 1.0)


def test_the_limit_is_common_to_a_page_and_never_0() -> None:
    assert page_pictures.evidence_limit([]) == 1.0
    assert page_pictures.evidence_limit([np.zeros((13, 13), np.float32)]) == 1.0
    flat = np.ones((13, 13), np.float32)
    assert page_pictures.evidence_limit([flat * 0.1] * 10 + [flat * 0.2] * 10) == pytest.approx(0.2)


def test_one_strong_cell_among_many_does_not_swamp_its_own_map() -> None:
    flat = np.ones((13, 13), np.float32)
    assert page_pictures.evidence_limit([flat * 0.01] * 99 + [flat]) == pytest.approx(0.5)
