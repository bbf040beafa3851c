"""Which of the pairs of many slides may show the same cells: all that `same_cells` would find, and a few others.

A batch of n slides has n (n - 1) / 2 pairs, nearly all of other cells. What `same_cells` asks first of a pair is asked
here of thousands at a time, in products of matrices. Products of single precision differ in their last digits from
those of a pair alone; so every limit is eased by more than they can, and who passes is asked again by `same_cells`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from mnbatch.assay.same_scene_slides import (
    FEWEST,
    GAP,
    LEAST_TRIED,
    LIKE,
    RANK,
    STAINED_RANK,
    Floats,
    SlideCells,
    highest_rank,
    in_order,
    is_large,
    may_be_in,
    may_be_stained,
    ours_in_any_order,
    theirs_in_any_order,
    tried,
)

EASED = 1e-4
"""Of a correlation. Sums of some 60 products in single precision differ by less than 1e-5, whatever their order."""

_ROWS = 1 << 14
"""Rows of a product: some megabytes, so that what is made of them stays near the processor."""

Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]


def pairs_to_compare(slides: Sequence[SlideCells], fresh: Flags) -> set[tuple[int, int]]:
    """Numbers (smaller first) of slides that `same_cells` may find to be the same, where they are of two donors.

    Args:
        slides: in the order in which pairs are compared.
        fresh: (n,), slides that are compared with all others; the rest were compared with each other before.
    """
    if not fresh.any():
        return set()
    found = [*_of_one_size(slides, fresh), *_of_any_size(slides, fresh)]
    return {(min(pair), max(pair)) for pair in found}


# Slides with the same number of cells, cell by cell.


def _of_one_size(slides: Sequence[SlideCells], fresh: Flags) -> Iterator[tuple[int, int]]:
    groups: dict[int, list[int]] = {}
    for number, slide in enumerate(slides):
        if len(slide) >= FEWEST:
            groups.setdefault(len(slide), []).append(number)
    for members in groups.values():
        if len(members) > 1 and fresh[members].any():
            for one, other in _in_one_order([slides[i] for i in members], fresh[members]):
                yield members[one], members[other]


def _in_one_order(slides: Sequence[SlideCells], fresh: Flags) -> Iterator[tuple[int, int]]:
    """Slides with the same number of cells whose partners have ranks that may be low enough."""
    size = len(slides[0])
    cells = np.stack([slide.centred[in_order(size)] for slide in slides])
    block = max(1, _ROWS // cells.shape[1])
    for one in np.flatnonzero(fresh).tolist():
        others = np.flatnonzero(~fresh | (np.arange(len(cells)) > one))
        for start in range(0, len(others), block):
            few = others[start : start + block]
            ranks = _least_ranks(cells[one], cells[few])
            low = few[ranks <= RANK].tolist()
            if may_be_stained(size):
                perhaps = few[(ranks > RANK) & (ranks <= highest_rank(size))].tolist()
                low += _of_like_forms(slides, one, perhaps)
            yield from ((one, other) for other in low)


def _of_like_forms(slides: Sequence[SlideCells], one: int, others: Sequence[int]) -> list[int]:
    """Those of the others whose pictures may show the forms of the cells of `one`, dark or bright.

    Of slides of other cells a few in a hundred come this far: in a large batch too many to ask about pair by pair.
    """
    if not others:
        return []
    ours, theirs = slides[one].forms(), np.stack([slides[other].forms() for other in others])
    ranks = np.minimum(_least_ranks(ours, theirs), _least_ranks(-ours, theirs))
    return [other for other, rank in zip(others, ranks.tolist(), strict=True) if rank <= STAINED_RANK]


def _least_ranks(one: Floats, others: Floats) -> Floats:
    """Mean rank of the partners, as `same_cells` has it or lower: (cells, d) and (slides, cells, d) give (slides,)."""
    slides, cells, _ = others.shape
    products = (others.reshape(slides * cells, -1) @ one.T).reshape(slides, cells, cells)
    partners = np.einsum("sii->si", products) + np.float32(EASED)
    above = np.zeros(slides, np.int64)
    for side in (partners[:, :, None], partners[:, None, :]):
        above += (products > side).view(np.uint8).reshape(slides, -1).sum(axis=1, dtype=np.int64)
    return np.asarray(above / (2 * cells * (cells - 1)))


# Slides whose cells are in any order.


@dataclass(frozen=True, slots=True)
class _Tried:
    """The cells that `same_cells` tries first, of slides in the order of their numbers of cells.

    Attributes:
        places: of the slides in that order; sizes: their numbers of cells, ascending.
        cells: (k, d), of all of them; starts: (slides + 1,), where those of each begin.
    """

    places: Numbers
    sizes: Numbers
    cells: Floats
    starts: Numbers

    @classmethod
    def of(cls, slides: Sequence[SlideCells], places: Numbers, *, large: bool) -> _Tried:
        """Of the slides in these places; `large`: the cells that are tried in large slides."""
        sizes = np.array([len(slides[place]) for place in places], np.int64)
        # Any other size on the same side gives the same cells.
        rows = [
            slides[place].centred[tried(ours_in_any_order(size, 10**9 if large else size))]
            for place, size in zip(places.tolist(), sizes.tolist(), strict=True)
        ]
        starts = np.concatenate([[0], np.cumsum([len(some) for some in rows])]).astype(np.int64)
        return cls(places, sizes, np.concatenate(rows) if rows else np.empty((0, 0), np.float32), starts)


def _of_any_size(slides: Sequence[SlideCells], fresh: Flags) -> Iterator[tuple[int, int]]:
    """Each slide with those that have fewer cells, or as many and come earlier."""
    sizes = np.array([len(slide) for slide in slides], np.int64)
    order = np.argsort(sizes, kind="stable")
    order = order[sizes[order] >= FEWEST]
    ordered = [slides[number] for number in order.tolist()]
    every, new = _sides(ordered, np.arange(len(order))), _sides(ordered, np.flatnonzero(fresh[order]))
    for place, number in enumerate(order.tolist()):
        known = (every if fresh[number] else new)[is_large(len(slides[number]))]
        for found in _those_in(slides[number], place, known):
            yield int(order[found]), number


def _sides(slides: Sequence[SlideCells], places: Numbers) -> dict[bool, _Tried]:
    enough = np.array([is_large(2 * len(slides[place])) for place in places.tolist()], bool)
    large = places[enough]
    return {False: _Tried.of(slides, places, large=False), True: _Tried.of(slides, large, large=True)}


def _those_in(other: SlideCells, place: int, known: _Tried) -> list[int]:
    """Places of slides before `place` whose tried cells may have partners in `other`."""
    more, last = len(other), int(np.searchsorted(known.places, place))
    first = int(np.searchsorted(known.sizes[:last], _least_size(more)))
    found: list[int] = []
    while first < last:
        # Of a large slide another run is compared with slides of each size.
        size = int(known.sizes[first])
        same = int(np.searchsorted(known.sizes[:last], size, side="right")) if is_large(more) else last
        end = _within(known.starts, first, same)
        clear = _clear_rows(known.cells[known.starts[first] : known.starts[end]], other, size)
        rows = known.starts[first : end + 1] - known.starts[first]
        enough = np.add.reduceat(clear, rows[:-1], dtype=np.int64) >= LEAST_TRIED
        found += known.places[first:end][enough].tolist()
        first = end
    return found


@cache
def _least_size(more: int) -> int:
    """The lowest number of cells of a slide that is compared with one of `more`."""
    size = more
    while size > 1 and may_be_in(size - 1, more):
        size -= 1
    return size


def _within(starts: Numbers, first: int, last: int) -> int:
    """Where to stop after `first`, so that the rows of a product are not too many."""
    return min(last, max(first + 1, int(np.searchsorted(starts, starts[first] + _ROWS, side="right")) - 1))


def _clear_rows(cells: Floats, other: SlideCells, size: int) -> Flags:
    """Cells that may be like one of `other`, and like no second one: all that are, and a few others."""
    products = cells @ other.centred[theirs_in_any_order(size, len(other))].T
    best = products.argmax(axis=1)
    rows = np.arange(len(products))
    highest = products[rows, best]
    products[rows, best] = -np.inf
    return np.asarray((highest - products.max(axis=1) >= GAP - EASED) & (highest >= LIKE - EASED))
