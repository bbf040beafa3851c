"""The search through all pairs of a batch leaves out no pair that `same_cells` finds."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from mnbatch.assay import slide_pairs
from mnbatch.assay.near_copies import SPECTRUM_BYTES
from mnbatch.assay.same_scene_slides import RANK, SlideCells, highest_rank, same_cells
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


def two_stains(slides: int, size: int = 12) -> list[SlideCells]:
    """Slides whose spectra say little, of other cells each; the last one shows the cells of the first, dark in place of
    bright."""
    rng = np.random.default_rng(11)
    pictures = np.kron(rng.integers(0, 256, (slides, size, 16, 16)), np.ones((4, 4), int)).astype(np.uint8)
    spectra = rng.integers(1, 256, (slides, size, SPECTRUM_BYTES))
    pictures[-1] = 255 - pictures[0]
    spectra[-1] = (spectra[0] + 8 * spectra[-1]) // 9
    return [
        SlideCells(np.arange(size), some.astype(np.uint8), few.__getitem__)
        for some, few in zip(spectra, pictures, strict=True)
    ]


def test_slides_of_two_stains_are_left_and_those_of_other_forms_are_not() -> None:
    slides = two_stains(80)
    one, last = slides[0], slides[-1]
    ranks = [float(slide_pairs._least_ranks(one.centred, other.centred[None])[0]) for other in slides[1:]]
    assert sum(rank <= highest_rank(12) for rank in ranks) > 3
    assert ranks[-1] > RANK
    assert same_cells(one, last)
    assert pairs_to_compare(slides, np.ones(len(slides), bool)) == {(0, len(slides) - 1)}


def test_a_fresh_slide_is_compared_with_all_others_and_they_are_not_compared_again() -> None:
    whole = pairs_to_compare(SLIDES, np.ones(len(SLIDES), bool))
    for number in range(len(SLIDES)):
        fresh = np.arange(len(SLIDES)) == number
        assert pairs_to_compare(SLIDES, fresh) == {pair for pair in whole if number in pair}
    assert pairs_to_compare(SLIDES, np.zeros(len(SLIDES), bool)) == set()
