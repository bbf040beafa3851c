"""The search through all pairs of a batch leaves out no pair that `same_cells` finds."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from mnbatch.assay import slide_pairs
from mnbatch.assay.near_copies import SPECTRUM_BYTES
from mnbatch.assay.same_scene_slides import SlideCells, same_cells
from mnbatch.assay.slide_pairs import pairs_to_compare

SIZES = (7, 8, 8, 9, 12, 12, 12, 16, 23, 24, 64, 64, 65, 65, 127, 128, 128, 129, 130, 150, 193, 193, 200, 257, 264)


def batch() -> list[SlideCells]:
    """Slides of many sizes: of cells of their own, and of all or a part of the cells of another one."""
    rng = np.random.default_rng(5)
    slides = []
    for number, size in enumerate(SIZES):
        own = rng.integers(0, 256, (size, SPECTRUM_BYTES))
        if number % 3 and slides:
            other = slides[-1].spectra.astype(int)
            kept = other[: min(len(other), size)] + rng.normal(0, 12 * (number % 4), (min(len(other), size), 1))
            own[: len(kept)] = kept + rng.normal(0, 20, kept.shape)
            if number % 2:
                rng.shuffle(own)
        spectra = np.clip(own, 1, 255).astype(np.uint8)
        pictures = rng.integers(0, 256, (size, 64, 64), np.uint8)
        slides.append(SlideCells(np.arange(size), spectra, pictures.__getitem__))
    return slides


SLIDES = batch()
SAME = {(i, j) for i, j in combinations(range(len(SLIDES)), 2) if same_cells(SLIDES[i], SLIDES[j])}


@pytest.mark.parametrize("rows", [64, 1 << 14])
def test_every_pair_that_shows_the_same_cells_is_left_and_few_others(rows: int, monkeypatch) -> None:
    monkeypatch.setattr(slide_pairs, "_ROWS", rows)
    found = pairs_to_compare(SLIDES, np.ones(len(SLIDES), bool))
    assert len(SAME) > 8
    assert found >= SAME
    assert len(found) < len(SAME) + 12
    # In order and in any order, of small slides and of large ones.
    assert {(len(SLIDES[i]) == len(SLIDES[j]), len(SLIDES[j]) > 128) for i, j in SAME} >= {(True, False), (False, True)}


def test_a_fresh_slide_is_compared_with_all_others_and_they_are_not_compared_again() -> None:
    whole = pairs_to_compare(SLIDES, np.ones(len(SLIDES), bool))
    for number in range(len(SLIDES)):
        fresh = np.arange(len(SLIDES)) == number
        assert pairs_to_compare(SLIDES, fresh) == {pair for pair in whole if number in pair}
    assert pairs_to_compare(SLIDES, np.zeros(len(SLIDES), bool)) == set()
