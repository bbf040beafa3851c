"""Two slides that show the same cells with other pixels: planes or stains in folders of their own, or of two donors.

What is compared is what two slides would not have by chance: cell after cell, or one by one wherever it is, a cell of
one slide is more like its partner in the other slide than like all others there. So nothing needs to be known of focus,
stain or light, which all cells of a slide share. Figures: tests/assay/test_same_scene_slides.py, on simulated cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from mnbatch.assay.near_copies import SIDE

FEWEST = 8
"""Cells of the smaller slide. Of 728 pairs of simulated slides with 8 other cells each, none had more than 5 that are
nearest to the cell of their number; of planes of the same cells all are."""

FEWEST_EQUAL = 3
"""Cells that are enough where both slides have the same number and each picture is almost that of its partner."""

FEWEST_STAINED = 12
"""Cells that it takes where the pictures are of two stains, and the slides have the same number of cells."""

FEWEST_STAINED_OF_ONE, _FEW_STAINED_RANK = 8, 0.065
"""Cells that are enough for two stains where the slides are of one donor, and the rank that it takes. Of 2340 pairs of
drawn slides of 8 other cells the lowest rank was 0.089, of 40 pairs of the same cells the highest 0.063."""

MOST = 64
"""Cells of a slide that are compared with those of another one."""

_NEAREST, RANK = 0.7, 0.1
"""Share of the cells whose partner is the nearest of all, seen from both sides; mean rank of partners, 0 to 1."""

GAP, LIKE = 0.1, 0.6
"""By which the correlation with a partner is above all others, and what it is at least, in any order."""

_TRIED, LEAST_TRIED = 12, 2
"""Cells that are tried first, and of them the least that have a partner by far."""

STAINED_RANK, _STAINED_ABOVE, STAINED_MAY_BE = 0.15, 0.6, 0.4
"""Of pictures of two stains: mean rank of partners by their forms, share that is nearer than its neighbours, and mean
rank by spectra."""

_ALIKE = 0.93
"""Median correlation of two pictures of one cell, as in `mnbatch.imaging.crop_scenes`."""

_LEAST_SHARE = 0.5
"""The smaller slide has at least this share of the cells of the larger one."""

_MARGIN = 16
_STEPS = (8, 16)

Floats = npt.NDArray[np.floating[Any]]
Indices = npt.NDArray[np.int64]
Pairs = tuple[tuple[int, int], ...]
Thumbnail = Callable[[int], npt.NDArray[np.uint8]]


Made = TypeVar("Made")


def once(make: Callable[[], Made]) -> Callable[[], Made]:
    """As `functools.cache`, whose making costs more than all that is done with most of thousands of slides."""
    made: list[Made] = []

    def get() -> Made:
        if not made:
            made.append(make())
        return made[0]

    return get


@dataclass(frozen=True, slots=True, eq=False)
class SlideCells:
    """What is known of the cells of a slide, in its order.

    Attributes:
        rows: numbers of the cells that are compared.
        spectra: (len(rows), SPECTRUM_BYTES), see `mnbatch.assay.near_copies.Likeness`; none is zero.
        thumbnail: gives the picture (64, 64) of a cell by its number in `rows`.
        centred: (len(rows), SPECTRUM_BYTES), the spectra without what all of them share, as unit vectors.
        forms: gives (number of `in_order`, 64), the same of small pictures of the cells that are compared one by one.
    """

    rows: npt.NDArray[np.int64]
    spectra: npt.NDArray[np.uint8]
    thumbnail: Thumbnail
    centred: Floats = field(init=False)
    forms: Callable[[], Floats] = field(init=False)

    def __post_init__(self) -> None:
        """Once a slide, which is compared with many."""
        values = _centred(self.spectra) if len(self.spectra) else np.zeros(self.spectra.shape)
        object.__setattr__(self, "centred", values.astype(np.float32))
        # Pictures are read when they are asked for: few slides of a small batch need them.
        object.__setattr__(self, "forms", once(lambda: _forms(self)))

    def __len__(self) -> int:
        return len(self.rows)


def same_cells(one: SlideCells, other: SlideCells, *, one_donor: bool = False) -> Pairs:
    """Pairs of cells (rows of both slides) that were found to be the same ones; none where the slides are of others.

    At most `MOST` cells of each slide are compared, so the pairs are a sample in large slides.

    Args:
        one_donor: they are of one donor, which has few slides: fewer cells are enough (3, of two stains 8; else 8 and
            12). Of 1770 pairs of drawn slides of 3 other cells one is taken for the same, too many for a whole batch.
    """
    fewer, more = sorted((len(one), len(other)))
    if fewer < (FEWEST_EQUAL if one_donor else FEWEST) or fewer < _LEAST_SHARE * more:
        return ()
    found: Pairs = ()
    if fewer == more:
        found = _in_order(one, other, FEWEST_STAINED_OF_ONE if one_donor else FEWEST_STAINED)
    if not found and fewer >= FEWEST:
        found = _in_any_order(one, other)
    return tuple((int(one.rows[i]), int(other.rows[j])) for i, j in found)


# Slides with the same number of cells, in the same order.


@cache
def in_order(count: int) -> Indices:
    """Numbers of the cells that are compared one by one, of slides with this number of cells each."""
    numbers = np.unique(np.linspace(0, count - 1, min(MOST, count)).astype(int))
    numbers.setflags(write=False)
    return numbers


def highest_rank(count: int) -> float:
    """Mean rank of partners above which no two slides of two donors, with this number of cells each, are the same."""
    return STAINED_MAY_BE if may_be_stained(count) else RANK


def may_be_stained(count: int) -> bool:
    """Whether slides of two donors with this number of cells each are compared as pictures of two stains."""
    return len(in_order(count)) >= FEWEST_STAINED


def _in_order(one: SlideCells, other: SlideCells, fewest_stained: int) -> Pairs:
    chosen = in_order(len(one))
    products = one.centred[chosen] @ other.centred[chosen].T
    rank, nearest = _ranks(products)
    pairs = tuple((int(i), int(i)) for i in chosen)
    if len(chosen) < FEWEST:
        return pairs if nearest == 1.0 and _all_alike(one, other, chosen) else ()
    if nearest >= _NEAREST and rank <= RANK:
        return pairs
    if len(chosen) >= fewest_stained and rank <= STAINED_MAY_BE and _stained(one, other):
        return pairs
    return ()


def _all_alike(one: SlideCells, other: SlideCells, chosen: npt.NDArray[np.intp]) -> bool:
    """Of a few cells: each picture is almost that of its partner, and less that of any other cell."""
    ours, theirs = (_pictures(slide, chosen, _STEPS[1]) for slide in (one, other))
    products = ours @ theirs.T
    return bool(_ranks(products)[1] == 1.0 and np.median(np.diag(products)) >= _ALIKE)


def _forms(slide: SlideCells) -> Floats:
    return np.asarray(_centred(_pictures(slide, in_order(len(slide)), _STEPS[0])).astype(np.float32))


def _stained(one: SlideCells, other: SlideCells) -> bool:
    """Whether forms agree, cell after cell, though what is bright in one picture may be dark in the other."""
    products = one.forms() @ other.forms().T
    highest = STAINED_RANK if len(products) >= FEWEST_STAINED else _FEW_STAINED_RANK
    for signed in (products, -products):
        if _ranks(signed)[0] <= highest and _above_neighbours(signed) >= _STAINED_ABOVE:
            return True
    return False


def _ranks(products: Floats) -> tuple[float, float]:
    """Mean rank of the partners (0 nearest, 1 last) in rows and columns, and the share that is nearest in both."""
    partners = np.diag(products)
    ranks, nearest = [], np.ones(len(products), bool)
    for values in (products, products.T):
        above = (values > partners[:, None]).sum(axis=1)
        ties = (values == partners[:, None]).sum(axis=1) - 1
        ranks.append(float(np.mean((above + ties / 2) / (len(products) - 1))))
        nearest &= above + ties == 0
    return float(np.mean(ranks)), float(nearest.mean())


def _above_neighbours(products: Floats) -> float:
    """Share of cells that are more like their partner than like the next cells: not so where cells are only sorted."""
    partners = np.diag(products)
    there = np.ones(len(partners), bool)
    there[:-1] &= partners[:-1] > np.diag(products, 1)
    there[1:] &= partners[1:] > np.diag(products, -1)
    return float(there.mean())


# Slides whose cells are in any order, or not all in both.


def is_large(more: int) -> bool:
    """Whether of a slide with so many cells a run is compared, in place of all."""
    return more > 2 * MOST


def may_be_in(fewer: int, more: int) -> bool:
    """Whether slides with these numbers of cells are compared at all."""
    return fewer >= _LEAST_SHARE * more and (not is_large(more) or more - fewer <= MOST)


def ours_in_any_order(fewer: int, more: int) -> Indices:
    """Numbers of the cells that are compared, of the slide with fewer cells (or as many)."""
    if not is_large(more):
        return np.arange(fewer)
    first = (fewer - MOST) // 2
    return np.arange(first, first + MOST)


def theirs_in_any_order(fewer: int, more: int) -> Indices:
    """The same of the other slide."""
    if not is_large(more):
        return np.arange(more)
    first = (fewer - MOST) // 2
    return np.arange(max(0, first - _MARGIN), min(more, first + MOST + more - fewer + _MARGIN))


def tried(ours: Indices) -> Indices:
    """Those of them that are tried first: `LEAST_TRIED` must have a partner by far."""
    return ours[:: -(-len(ours) // _TRIED)]


def _in_any_order(one: SlideCells, other: SlideCells) -> Pairs:
    """Cells that are nearest to each other by far; in large slides of a run of cells and of the same run, and some."""
    if len(one) > len(other):
        return tuple((i, j) for j, i in _in_any_order(other, one))
    if not may_be_in(len(one), len(other)):
        return ()
    ours, theirs = ours_in_any_order(len(one), len(other)), theirs_in_any_order(len(one), len(other))
    if _clear(one.centred[tried(ours)] @ other.centred[theirs].T).sum() < LEAST_TRIED:
        return ()  # of slides of other cells, which most are, a few cells tell it
    pairs = _mutual(one.centred[ours] @ other.centred[theirs].T)
    if len(pairs) < _NEAREST * len(ours):
        return ()
    return tuple((int(ours[i]), int(theirs[j])) for i, j in pairs)


def _mutual(products: Floats) -> list[tuple[int, int]]:
    nearest, back = products.argmax(axis=1), products.argmax(axis=0)
    clear = _clear(products) & (back[nearest] == np.arange(len(products)))
    return [(int(i), int(nearest[i])) for i in np.flatnonzero(clear)]


def _clear(products: Floats) -> npt.NDArray[np.bool_]:
    """Cells (rows) that are like one of the others, and like no second one."""
    best = np.sort(products, axis=1)[:, -2:]
    return np.asarray((best[:, 1] - best[:, 0] >= GAP) & (best[:, 1] >= LIKE))


def _centred(rows: npt.NDArray[np.generic]) -> Floats:
    """Rows without what all of them share, as unit vectors."""
    values = rows.astype(np.float64)
    values -= values.mean(axis=0)
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9))


def _pictures(slide: SlideCells, chosen: Sequence[int] | npt.NDArray[np.intp], side: int) -> Floats:
    """Reduced pictures as unit vectors without their mean."""
    whole = np.stack([slide.thumbnail(int(slide.rows[i])) for i in chosen])
    step = SIDE // side
    values = whole.reshape(len(whole), side, step, side, step).mean(axis=(2, 4)).reshape(len(whole), -1)
    values -= values.mean(axis=1, keepdims=True)
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9))
