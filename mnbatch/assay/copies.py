"""Cells that are the same picture under another name.

Within one donor the first in slide order counts, the others do not. Under two donors nobody knows whose cell it is: it
counts for neither, and where two slides share more than a few, both fail.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

DIGEST_BYTES = 16

MOST_SHARED = 2
MOST_SHARED_SHARE = 0.1
"""Two donors' slides both fail that share more than 2 cells and more than 10 % of the smaller's readable ones."""


@dataclass(frozen=True, slots=True)
class CopyOf:
    """Where the original of a copied cell lies.

    Attributes:
        slide_id: slide of the original.
        row: its row in that slide, counted from 0.
    """

    slide_id: str
    row: int


@dataclass(frozen=True, slots=True)
class Shared:
    """A cell whose picture stands under another donor, too.

    Attributes:
        slide_id, row: the first such cell of another donor, in slide order.
        fails: number of cells that the two slides share, where they are so many that both fail; else 0.
    """

    slide_id: str
    row: int
    fails: int = 0


@dataclass(frozen=True, slots=True)
class SharedCell:
    """As `Shared`, with the other cell's name."""

    cell_id: str
    slide_id: str
    fails: int = 0


Elsewhere = Mapping[int, "str | SharedCell"]
"""Row of a slide -> cell_id of the original counted in its place, or another donor's cell of the same picture."""


def find_shared(
    slides: Sequence[tuple[str, npt.NDArray[np.uint8]]], donors: Mapping[str, str]
) -> dict[str, dict[int, Shared]]:
    """Find cells whose pixels are equal to those of a cell of another donor.

    Args:
        slides: as for `find_copies`.
        donors: slide_id -> donor, of slides that have one.

    Returns:
        For each slide that shares cells, row -> the other one; said on both sides.
    """
    runs = [_of_donors(run, donors) for run in _runs(slides)]
    disputed = [run for run in runs if len({donors[cell.slide_id] for cell in run}) > 1]
    pairs = Counter(pair for run in disputed for pair in _pairs(run, donors))
    readable = {slide_id: int(digests.any(axis=1).sum()) for slide_id, digests in slides}
    failing = {pair: count for pair, count in pairs.items() if _too_many(count, min(readable[one] for one in pair))}
    found: dict[str, dict[int, Shared]] = {}
    for run in disputed:
        for cell in run:
            others = [other for other in run if donors[other.slide_id] != donors[cell.slide_id]]
            worst = max(others, key=lambda other: failing.get(_pair(cell, other), 0))
            fails = failing.get(_pair(cell, worst), 0)
            found.setdefault(cell.slide_id, {})[cell.row] = Shared(worst.slide_id, worst.row, fails)
    return {slide_id: dict(sorted(rows.items())) for slide_id, rows in found.items()}


def _of_donors(run: Sequence[CopyOf], donors: Mapping[str, str]) -> list[CopyOf]:
    return [cell for cell in run if cell.slide_id in donors]


def _pairs(run: Sequence[CopyOf], donors: Mapping[str, str]) -> set[tuple[str, str]]:
    return {_pair(a, b) for a, b in combinations(run, 2) if donors[a.slide_id] != donors[b.slide_id]}


def _pair(one: CopyOf, other: CopyOf) -> tuple[str, str]:
    first, second = sorted((one.slide_id, other.slide_id))
    return first, second


def _too_many(shared: int, smaller: int) -> bool:
    return shared > MOST_SHARED and shared > MOST_SHARED_SHARE * smaller


def find_copies(slides: Sequence[tuple[str, npt.NDArray[np.uint8]]]) -> dict[str, dict[int, CopyOf]]:
    """Find cells whose pixels are equal to those of an earlier cell.

    Args:
        slides: (slide_id, digests) in slide order; digests is uint8 (n, 16), all zero for an unreadable cell.
            Slides that are failed must not be given: a cell must not lose its count to a slide that has none.

    Returns:
        For each slide that has copies, row -> original.
    """
    copies: dict[str, dict[int, CopyOf]] = {}
    for original, *others in _runs(slides):
        for cell in others:
            copies.setdefault(cell.slide_id, {})[cell.row] = original
    return {slide_id: dict(sorted(rows.items())) for slide_id, rows in copies.items()}


def _runs(slides: Sequence[tuple[str, npt.NDArray[np.uint8]]]) -> list[list[CopyOf]]:
    """Groups of two and more cells with equal pixels, each in slide order. One sort: n log n."""
    lengths = [len(digests) for _, digests in slides]
    if not sum(lengths):
        return []
    stacked = np.ascontiguousarray(np.concatenate([digests for _, digests in slides]))
    keys = stacked.view(np.dtype((np.void, DIGEST_BYTES))).ravel()
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    bounds = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1], [True]]))
    starts = np.concatenate([[0], np.cumsum(lengths)])
    # The stable sort leaves equal cells in slide order.
    several = np.flatnonzero(np.diff(bounds) > 1)
    runs = [order[bounds[i] : bounds[i + 1]] for i in several if stacked[order[bounds[i]]].any()]
    return [[CopyOf(slides[slide][0], row) for slide, row in (_locate(int(c), starts) for c in run)] for run in runs]


def _locate(index: int, starts: npt.NDArray[np.int64]) -> tuple[int, int]:
    slide = int(np.searchsorted(starts, index, side="right")) - 1
    return slide, index - int(starts[slide])
