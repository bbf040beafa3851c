"""Hard training cells: the same for a seed, both classes, in files of the sizes and colours that galleries have."""

import numpy as np
import pytest

from mnbatch.imaging.preparation import Preparation
from mnbatch.simulate.cell_drawing import Micronucleus, SimulatedCell
from mnbatch.training.fresh_pools import FreshPools
from mnbatch.training.hard_cells import DRAWN, LEAST_MN, as_file, hard_cells
from mnbatch.training.recipe import Recipe
from mnbatch.training.synthetic_cells import Preparer
from mnbatch.training.training_pools import Labelled, PoolMaker, Sources


def test_a_part_is_the_same_as_in_the_whole_and_classes_take_turns() -> None:
    whole = list(hard_cells(range(6), 3))
    part = list(hard_cells(range(3, 6), 3))
    assert all(np.array_equal(a, b) and n == m for (a, n), (b, m) in zip(whole[3:], part, strict=True))
    assert [n > 0 for _, n in whole] == [True, False] * 3
    for picture, _ in whole:
        assert picture.dtype == (np.uint8 if picture.ndim == 3 else np.uint16)
        assert picture.shape[0] == picture.shape[1]
        assert 60 <= len(picture) <= 300


def plain(radius: float) -> SimulatedCell:
    none = np.zeros((DRAWN, DRAWN), bool)
    image = np.full((DRAWN, DRAWN, 3), 200, np.uint8)
    return SimulatedCell(image, 1, (Micronucleus(50.0, 50.0, radius, 1.0),), none, none, none, ())


@pytest.mark.parametrize("radius", [2.0, 4.0, 10.0])
def test_no_file_is_too_small_for_its_smallest_micronucleus(radius: float) -> None:
    widths = [len(as_file(np.random.default_rng(i), plain(radius), "giemsa")) for i in range(60)]
    assert min(widths) >= min(300, LEAST_MN * DRAWN / (2 * radius)) - 1
    assert max(widths) <= 300
    assert sum(width < 112 for width in widths) > 20 or radius < 4


def test_half_of_the_fluorescence_cells_keep_16_bits_at_the_size_of_their_file() -> None:
    pictures = [picture for picture, _ in hard_cells(range(24), 5, giemsa=0.0)]
    deep = [picture for picture in pictures if picture.dtype == np.uint16]
    assert 6 <= len(deep) <= 18
    assert all(picture.ndim == 2 and 60 <= len(picture) <= 300 and picture.max() > 255 for picture in deep)
    assert len({len(picture) for picture in deep}) > 3
    assert all(picture.dtype == np.uint8 for picture, _ in hard_cells(range(4), 5, giemsa=1.0))


def recipe(**changes: object) -> Recipe:
    only = {"labelled": 0.0, "dressed": 0.0, "composite": 0.0, "smear": 0.0, "simulated": 0.0, "hard": 1.0}
    return Recipe(epochs=4, cells_per_epoch=4, with_mn=0.25, fresh=2, size=64, **only, **changes)  # type: ignore[arg-type]


def test_a_drawing_serves_its_epochs_and_the_next_one_is_another() -> None:
    asked = recipe()
    preparer = Preparer(Preparation(size=64, polarity="density"), (0.4, 0.4, 0.2))
    maker = PoolMaker(asked, Sources(), preparer, 1, 0, lambda _: None)
    none = Labelled(np.zeros((0, 64, 64, 3), np.uint8), np.zeros(0, bool))
    pools, again = FreshPools(asked, maker, preparer, none), FreshPools(asked, maker, preparer, none)
    try:
        (first,), (second,), (third,) = pools(1), pools(2), pools(3)
        assert first is second
        assert first.pixels.shape == (6, 64, 64, 1)
        assert first.labels.sum() == 3
        assert not np.array_equal(first.pixels, third.pixels)
        assert np.array_equal(again(3)[0].pixels, third.pixels), "a training that goes on finds other cells"
        (said,) = pools.described(4)
        assert (said.name, len(said.labels), said.labels.sum()) == ("hard", 12, 6)
    finally:
        pools.close()
        again.close()
