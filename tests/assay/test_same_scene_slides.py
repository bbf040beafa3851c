"""Which slides are taken for the same cells in another plane or stain, and that slides of other cells never are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from mnbatch.assay.near_copies import SIDE, likeness_of
from mnbatch.assay.same_scene_fields import FieldCells, same_scenes
from mnbatch.assay.same_scene_slides import (
    FEWEST,
    FEWEST_EQUAL,
    FEWEST_STAINED,
    FEWEST_STAINED_OF_ONE,
    SlideCells,
    same_cells,
)
from tests.assay.drawn_thumbnails import body, cell, photographed


def slide(pictures: Sequence[np.ndarray]) -> SlideCells:
    spectra = np.array([np.frombuffer(likeness_of(picture).spectrum, np.uint8) for picture in pictures])
    return SlideCells(np.arange(len(pictures)), spectra, lambda row: pictures[row])


def drawn(seed: int, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [cell(rng) for _ in range(count)]


def taken(cells: Sequence[np.ndarray], seed: int, blur: float = 0.6) -> SlideCells:
    rng = np.random.default_rng([seed, 1])
    return slide([photographed(image, rng, blur) for image in cells])


@pytest.mark.parametrize("count", [FEWEST_EQUAL, FEWEST, 40])
def test_planes_of_the_same_cells_are_found_cell_by_cell(count) -> None:
    cells = drawn(1, count)
    pairs = same_cells(taken(cells, 2), taken(cells, 3, blur=1.6), one_donor=True)
    assert len(pairs) >= 0.7 * count
    assert all(i == j for i, j in pairs)


@pytest.mark.parametrize("count", [FEWEST, 40])
def test_planes_are_found_in_any_order_and_with_cells_missing(count) -> None:
    cells = drawn(4, count)
    order = np.random.default_rng(5).permutation(count)[: count - count // 10]
    pairs = same_cells(taken(cells, 6), taken([cells[i] for i in order], 7, blur=1.6))
    assert len(pairs) >= 0.6 * count
    assert sum(order[j] == i for i, j in pairs) >= 0.9 * len(pairs)


def test_in_large_slides_with_some_cells_missing_a_part_is_compared() -> None:
    cells = drawn(8, 200)
    there = [image for i, image in enumerate(cells) if i % 40 != 7]
    assert same_cells(taken(cells, 9), taken(there, 10, blur=1.6))


def test_a_stain_of_the_whole_cell_is_found_bright_or_dark() -> None:
    cells = drawn(11, 2 * FEWEST_STAINED)
    stained = [body(image) for image in cells]
    assert same_cells(taken(cells, 12), taken(stained, 13))
    assert same_cells(taken(cells, 12), taken([255 - image for image in stained], 13))


def test_of_one_donor_fewer_cells_of_two_stains_are_enough() -> None:
    cells = drawn(14, FEWEST_STAINED_OF_ONE)
    both = taken(cells, 15), taken([body(image) for image in cells], 16)
    assert same_cells(*both, one_donor=True)
    assert same_cells(*both) == ()
    few = taken(cells[:FEWEST_EQUAL], 15), taken(cells[:FEWEST_EQUAL], 16, blur=1.6)
    assert same_cells(*few, one_donor=True)
    assert same_cells(*few) == ()


@pytest.mark.parametrize("count", [FEWEST_EQUAL, 5, FEWEST, FEWEST_STAINED, 40])
def test_slides_of_other_cells_are_never_taken_for_the_same(count) -> None:
    slides = [taken(drawn(100 + seed, count), seed) for seed in range(10)]
    # In the order of size, as some scanners write them.
    ordered = [taken(sorted(drawn(200 + seed, count), key=np.sum), seed, blur=1.2) for seed in range(10)]
    wrong = [
        (i, j)
        for group in (slides, ordered)
        for i, one in enumerate(group)
        for j, other in enumerate(group)
        if i < j and same_cells(one, other, one_donor=True)
    ]
    assert wrong == []


def test_cells_without_structure_and_cells_drawn_alike_are_not_taken_for_the_same() -> None:
    flat = [np.full((SIDE, SIDE), 90, np.uint8)] * 20
    alike = [photographed(drawn(300, 1)[0], np.random.default_rng(0))] * 20
    assert same_cells(slide(flat), slide(flat)) == ()
    assert same_cells(slide(alike), slide(alike)) == ()
    noisy = [taken(drawn(300, 1) * 20, seed) for seed in range(2)]
    assert same_cells(*noisy) == ()


# Fields.


def field(places: np.ndarray, name: str = "f0.tif") -> FieldCells:
    return FieldCells(name=name, size=(1000, 1200), places=places, diameter=30.0)


def places_of(seed: int, count: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).uniform(20, 980, (count, 2))


def test_fields_of_one_scene_are_found_by_name_or_number_though_some_cells_are_not_seen_in_both() -> None:
    first, again = places_of(1), places_of(1) + np.random.default_rng(2).normal(0, 2, (12, 2))
    assert same_scenes([field(first)], [field(again[3:])]) == ((0, 0),)
    ours = [field(places_of(seed), f"top{seed}.tif") for seed in range(3)]
    theirs = [field(places_of(seed)[:9], f"low{seed}.tif") for seed in range(3)]
    assert same_scenes(ours, theirs) == ((0, 0), (1, 1), (2, 2))


def test_fields_of_other_scenes_of_the_same_names_are_not() -> None:
    for seed in range(200):
        ours, theirs = ([field(places_of(1000 * side + 2 * seed + i), f"f{i}") for i in range(2)] for side in (1, 2))
        assert same_scenes(ours, theirs) == ()


def test_an_area_that_was_cut_into_fields_at_other_places_is_found() -> None:
    everything = np.random.default_rng(3).uniform(0, (2400, 2000), (160, 2))

    def cut(left: float, top: float, name: str) -> FieldCells:
        inside = ((everything >= (left, top)) & (everything < (left + 1200, top + 1000))).all(axis=1)
        return field(everything[inside] - (left, top) + np.random.default_rng(4).normal(0, 2, (inside.sum(), 2)), name)

    ours = [cut(x, y, f"a{x}{y}") for x in (0, 1200) for y in (0, 1000)]
    theirs = [cut(x, y, f"b{x}{y}") for x in (500, 1100) for y in (300,)]
    assert (0, 0) in same_scenes(ours, theirs)
    assert same_scenes(ours, theirs, shifted=False) == ()


@pytest.mark.parametrize("count", [20, 80])
def test_fields_of_other_scenes_are_not_found_at_any_shift(count) -> None:
    slides = [[field(places_of(40 * i + j, count), f"{i}{j}") for j in range(3)] for i in range(6)]
    assert not any(same_scenes(one, other) for i, one in enumerate(slides) for other in slides[:i])


def test_cells_on_a_grid_say_nothing() -> None:
    grid = np.array([(100 + 200 * i, 99.5 + 200 * j) for i in range(6) for j in range(5)], float)
    assert same_scenes([field(grid)], [field(grid)]) == ()
    assert (
        same_scenes([field(places_of(1), f"a{i}") for i in range(2)], [field(places_of(1), f"a{i}") for i in range(2)])
        == ()
    )
