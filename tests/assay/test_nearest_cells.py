"""Lists of nearest cells that were brought up to date are those that are made from nothing."""

from __future__ import annotations

import numpy as np
import pytest

from mnbatch.assay import nearest_cells
from mnbatch.assay.near_copies import SPECTRUM_BYTES
from mnbatch.assay.nearest_cells import NEAREST, WITHIN, Nearest, find_nearest


def crowd(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Cells in some crowds, with equal ones, ones at equal distances and ones that take no part."""
    middle = rng.integers(60, 200, (5, SPECTRUM_BYTES))[rng.integers(0, 5, cells)]
    spectra = middle + rng.integers(-9, 10, (cells, SPECTRUM_BYTES))
    spectra[::7] = (
        middle[::7] + 4 * np.eye(SPECTRUM_BYTES, dtype=int)[rng.integers(0, SPECTRUM_BYTES, len(middle[::7]))]
    )
    spectra[::11] = middle[::11]
    spectra[::13] = 0
    spectra[5::17] = rng.integers(0, 256, (len(spectra[5::17]), SPECTRUM_BYTES))
    return spectra.astype(np.uint8)


def by_hand(spectra: np.ndarray) -> list[tuple[int, int]]:
    found = []
    for row in np.flatnonzero(spectra.any(axis=1)).tolist():
        squared = ((spectra.astype(int) - spectra[row].astype(int)) ** 2).sum(axis=1)
        near = [n for n in np.argsort(squared, kind="stable").tolist() if n != row and spectra[n].any()]
        found += [(row, n) for n in near[:NEAREST] if squared[n] <= WITHIN]
    return found


def entries(found: Nearest) -> list[tuple[int, int]]:
    return list(zip(found.rows.tolist(), found.others.tolist(), strict=True))


SPECTRA = crowd(np.random.default_rng(3), 400)


def test_the_nearest_of_each_cell_are_found_also_where_many_are_equally_near() -> None:
    assert entries(find_nearest(SPECTRA)) == by_hand(SPECTRA)
    assert len(by_hand(SPECTRA)) > 2000


def test_where_all_cells_are_equal_the_earlier_ones_are_the_nearest() -> None:
    same = np.full((300, SPECTRUM_BYTES), 90, np.uint8)
    assert entries(find_nearest(same)) == by_hand(same)


@pytest.mark.parametrize("few", [nearest_cells.FEW, 0])
def test_cells_that_come_and_go_leave_the_lists_of_a_search_from_nothing(
    monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(nearest_cells, "FEW", few)
    monkeypatch.setattr(nearest_cells, "_ENTRIES", 1000)
    rng = np.random.default_rng(8)
    numbers = np.sort(rng.choice(len(SPECTRA), 300, replace=False))
    spectra = SPECTRA[numbers]
    found = find_nearest(spectra)
    for _ in range(6):
        before = numbers
        gone = rng.choice(before, 30, replace=False)
        new = rng.choice(np.setdiff1d(np.arange(len(SPECTRA)), before), 25, replace=False)
        numbers = np.union1d(np.setdiff1d(before, gone), new)
        spectra = SPECTRA[numbers]
        spectra[rng.choice(len(spectra), 3)] = 0
        places = np.where(np.isin(before, numbers), np.searchsorted(numbers, before), -1)
        found = find_nearest(spectra, found.moved(places, spectra.any(axis=1)))
        assert entries(found) == by_hand(spectra)


def test_earlier_cells_are_not_compared_with_each_other_again(monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_nearest(SPECTRA[:390])
    asked: list[int] = []
    within = nearest_cells._within

    def seen(spectra: np.ndarray, some: np.ndarray, among: np.ndarray) -> object:
        asked.extend(some.tolist())
        return within(spectra, some, among)

    monkeypatch.setattr(nearest_cells, "_within", seen)
    monkeypatch.setattr(nearest_cells, "_by_tree", None)
    again = find_nearest(SPECTRA, found.moved(np.arange(390), SPECTRA.any(axis=1)))
    assert entries(again) == by_hand(SPECTRA)
    assert set(asked) == set((390 + np.flatnonzero(SPECTRA[390:].any(axis=1))).tolist())


def test_pairs_are_named_once_and_in_order() -> None:
    pairs = find_nearest(SPECTRA).pairs
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    assert {tuple(pair) for pair in pairs.tolist()} == {(min(pair), max(pair)) for pair in by_hand(SPECTRA)}
    assert find_nearest(SPECTRA[:0]).pairs.shape == (0, 2)
