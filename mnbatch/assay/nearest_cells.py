"""The nearest cells of each cell by spectrum, found once: when slides come and go, only what they change is looked for.

Spectra are whole numbers, and so are squared distances: which cells are the nearest depends on no rounding, on no axes
and on no order of work. Of equal distances the earlier cell is the nearer one. So lists that were brought up to date
are those that would be made from nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NEAREST = 8
"""Cells that are kept of each: thousands of pictures of nothing but noise are all alike."""

WITHIN = 7080
"""Squared distance, in steps of the spectra (0.165 of their length)."""

FEW = 10_000
"""Cells that are compared with all others one by one; for more a tree is made."""

_DIMENSIONS = 24
_ROUNDING = 0.25
"""Of squared distances; those of cells are whole numbers."""

_ENTRIES = 1 << 23
_GATHERED = 1 << 16
_ASKED = (NEAREST + 12, 20 * NEAREST)

Spectra = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """For each cell the nearest other ones.

    Attributes:
        takes: (n,), cells that take part.
        rows, others: (m,), a cell and one of its nearest, at most `NEAREST` a cell; in the order of the cells, the
            nearest first.
    """

    takes: Flags
    rows: Numbers
    others: Numbers

    @property
    def pairs(self) -> Numbers:
        """(pairs, 2), each pair of a cell and one of its nearest once, the earlier cell first, in their order."""
        both = np.stack([np.minimum(self.rows, self.others), np.maximum(self.rows, self.others)], axis=1)
        return np.unique(both, axis=0) if len(both) else np.empty((0, 2), np.int64)

    def moved(self, places: Numbers, takes: Flags) -> Before:
        """What is still true of these lists.

        Args:
            places: (n,), where each cell is now, in the same order as before; -1 for one that is gone.
            takes: which cells take part now.
        """
        kept = np.zeros(len(takes), bool)
        there = self.takes & (places >= 0)
        kept[places[there]] = takes[places[there]]
        of = np.where(places >= 0, places, len(takes))
        rows, others = of[self.rows], of[self.others]
        known = np.append(kept, False)
        whole = known[rows] & known[others]
        full = np.bincount(self.rows, minlength=len(places))[self.rows] == NEAREST
        short = rows[known[rows] & ~known[others] & full]
        stale = np.zeros(len(takes), bool)
        stale[short] = True
        return Before(kept, stale, Nearest(kept, rows[whole], others[whole]))


@dataclass(frozen=True, slots=True, eq=False)
class Before:
    """Lists of earlier cells, by the numbers that they have now.

    Attributes:
        kept: (n,), cells that are among them.
        stale: of these the ones whose list was full and lost one: which cell comes next is not known.
        lists: of the cells that are left.
    """

    kept: Flags
    stale: Flags
    lists: Nearest


def find_nearest(spectra: Spectra, before: Before | None = None) -> Nearest:
    """The nearest cells of all cells (n, d); those of zeros take no part."""
    takes: Flags = np.asarray(spectra.any(axis=1))
    if before is None:
        return _from_nothing(spectra, takes)
    asked = takes & (~before.kept | before.stale)
    if np.count_nonzero(asked) > FEW:
        return _from_nothing(spectra, takes)
    fresh = takes & ~before.kept
    rows, others = before.lists.rows, before.lists.others
    left = ~before.stale[rows]
    found = [(rows[left], others[left])]
    for ours, theirs in _within(spectra, np.flatnonzero(asked), np.flatnonzero(takes)):
        found.append((ours, theirs))
        # Earlier cells, whose lists hold each other, may have a fresh one among their nearest now.
        new = fresh[ours] & ~asked[theirs]
        found.append((theirs[new], ours[new]))
    return Nearest(takes, *_first(spectra, *map(np.concatenate, zip(*found, strict=True))))


def _from_nothing(spectra: Spectra, takes: Flags) -> Nearest:
    numbers = np.flatnonzero(takes)
    if len(numbers) < 2:
        return Nearest(takes, np.empty(0, np.int64), np.empty(0, np.int64))
    rows, others = _by_tree(spectra[numbers])
    return Nearest(takes, numbers[rows], numbers[others])


def _by_tree(spectra: Spectra) -> tuple[Numbers, Numbers]:
    from scipy.spatial import cKDTree

    values = spectra.astype(np.float64)
    values -= values.mean(axis=0)
    # Turned to their main directions, which changes no distance; all others only add to it, and a tree of many is slow.
    points = values @ np.linalg.eigh(values.T @ values)[1][:, : -_DIMENSIONS - 1 : -1]
    tree = cKDTree(points)
    found: list[tuple[Numbers, Numbers]] = []
    open_rows = np.arange(len(points))
    for count in _ASKED:
        still = []
        for start in range(0, len(open_rows), _GATHERED):
            asked = open_rows[start : start + _GATHERED]
            # Half a step further than the squares that count, so that rounding takes none away.
            found_away, near = tree.query(points[asked], k=count, distance_upper_bound=np.sqrt(WITHIN + 0.5))
            away = np.asarray(found_away)
            rows = np.repeat(asked, count)
            there = (near.ravel() < len(points)) & (near.ravel() != rows)
            rows, others = _first(spectra, rows[there], near.ravel()[there].astype(np.int64))
            # Those that the tree did not name are as far away as the last one that it did, or further.
            last = away[:, -1] ** 2 - _ROUNDING
            listed = np.bincount(rows - asked[0], minlength=asked[-1] - asked[0] + 1)[asked - asked[0]]
            farthest = np.zeros(len(points), np.int64)
            np.maximum.at(farthest, rows, _squared(spectra, rows, others))
            sure = np.isinf(last) | ((listed == NEAREST) & (farthest[asked] < last))
            settled = np.zeros(len(points), bool)
            settled[asked[sure]] = True
            found.append((rows[settled[rows]], others[settled[rows]]))
            still.append(asked[~sure])
        open_rows = np.concatenate(still)
        if not len(open_rows):
            break
    found += _within(spectra, open_rows, np.arange(len(points)))
    return _first(spectra, *map(np.concatenate, zip(*found, strict=True)))


def _within(spectra: Spectra, asked: Numbers, among: Numbers) -> Iterator[tuple[Numbers, Numbers]]:
    """Each of some cells with all others that are near enough."""
    if not len(asked):
        return
    theirs = spectra[among].astype(np.float32)
    # All sums are whole numbers below 2 ** 24: exact in single precision.
    lengths = (theirs * theirs).sum(axis=1)
    block = max(1, _ENTRIES // len(among))
    for start in range(0, len(asked), block):
        numbers = asked[start : start + block]
        ours = spectra[numbers].astype(np.float32)
        squared = lengths - 2 * (ours @ theirs.T) + (ours * ours).sum(axis=1)[:, None]
        one, other = np.nonzero(squared <= WITHIN)
        rows, others = numbers[one], among[other]
        apart = rows != others
        yield rows[apart], others[apart]


def _first(spectra: Spectra, rows: Numbers, others: Numbers) -> tuple[Numbers, Numbers]:
    """Of each cell's others the nearest that are near enough, each once."""
    squared = _squared(spectra, rows, others)
    near = squared <= WITHIN
    rows, others, squared = rows[near], others[near], squared[near]
    order = np.lexsort((others, squared, rows))
    rows, others = rows[order], others[order]
    again = np.zeros(len(rows), bool)
    again[1:] = (rows[1:] == rows[:-1]) & (others[1:] == others[:-1])
    rows, others = rows[~again], others[~again]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    return rows[rank < NEAREST], others[rank < NEAREST]


def _squared(spectra: Spectra, rows: Numbers, others: Numbers) -> Numbers:
    found = np.empty(len(rows), np.int64)
    for start in range(0, len(rows), _GATHERED):
        part = slice(start, start + _GATHERED)
        apart = spectra[rows[part]].astype(np.int32) - spectra[others[part]]
        found[part] = np.einsum("ij,ij->i", apart, apart)
    return found
