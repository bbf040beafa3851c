"""Cells that are the same picture under another name, with the same pixels or saved again (`near_copies`).

Within one donor the first in slide order counts, the others do not. Under two donors it is not known whose cell it is:
it counts for neither, and where two slides share more than a few, both fail. It is reported on both sides.
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


CellAt = tuple[str, int]
"""Slide and row, counted from 0."""

Digests = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class CopyOf:
    """Where the original of a copied cell is.

    Attributes:
        slide_id: slide of the original.
        row: its row in that slide, counted from 0.
        near: its pixels are others, and show the same picture.
    """

    slide_id: str
    row: int
    near: bool = False


@dataclass(frozen=True, slots=True)
class Shared:
    """A cell whose picture is also that of a cell of another donor.

    Attributes:
        slide_id, row: the first such cell of another donor, in slide order.
        fails: number of cells that the two slides share, where they are so many that both fail; else 0.
        near: as in `CopyOf`.
    """

    slide_id: str
    row: int
    fails: int = 0
    near: bool = False


@dataclass(frozen=True, slots=True)
class Copied:
    """As `CopyOf`, with the original's name: it is counted there."""

    cell_id: str
    near: bool = False


@dataclass(frozen=True, slots=True)
class Original:
    """A cell that is counted, and comes again in a slide in which it is not."""

    slide_id: str
    near: bool = False


@dataclass(frozen=True, slots=True)
class SharedCell:
    """As `Shared`, with the other cell's name."""

    cell_id: str
    slide_id: str
    fails: int = 0
    near: bool = False


Elsewhere = Mapping[int, Copied | SharedCell | Original]
"""Row of a slide -> where its picture is found as well."""


Runs = Sequence[Sequence[CopyOf]]


def find_shared(
    slides: Sequence[tuple[str, Digests]],
    donors: Mapping[str, str],
    near: Sequence[tuple[CellAt, CellAt]] = (),
    runs: Runs | None = None,
) -> dict[str, dict[int, Shared]]:
    """Find cells that show the same picture as a cell of another donor.

    Args:
        slides, near: as for `find_copies`.
        donors: slide_id -> donor, of slides that have one.
        runs: what `find_runs` gives for them, where it is known.

    Returns:
        For each slide that shares cells, row -> the other one; reported on both sides.
    """
    digests_of = dict(slides)
    of_donors = [_of_donors(run, donors) for run in (find_runs(slides, near) if runs is None else runs)]
    disputed = [run for run in of_donors if len({donors[cell.slide_id] for cell in run}) > 1]
    pairs = Counter(pair for run in disputed for pair in _pairs(run, donors))
    readable = {slide_id: int(digests.any(axis=1).sum()) for slide_id, digests in slides}
    failing = {pair: count for pair, count in pairs.items() if _too_many(count, min(readable[one] for one in pair))}
    found: dict[str, dict[int, Shared]] = {}
    for run in disputed:
        for cell in run:
            others = [other for other in run if donors[other.slide_id] != donors[cell.slide_id]]
            worst = max(others, key=lambda other: failing.get(_pair(cell, other), 0))
            fails = failing.get(_pair(cell, worst), 0)
            other = Shared(worst.slide_id, worst.row, fails, _differ(digests_of, cell, worst))
            found.setdefault(cell.slide_id, {})[cell.row] = other
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


def find_copies(
    slides: Sequence[tuple[str, Digests]], near: Sequence[tuple[CellAt, CellAt]] = (), runs: Runs | None = None
) -> dict[str, dict[int, CopyOf]]:
    """Find cells that show the same picture as an earlier cell.

    Args:
        slides: (slide_id, digests) in slide order; digests is uint8 (n, 16), all zero for an unreadable cell.
            Slides that are failed must not be given: a cell must not lose its count to a slide that has none.
        near: pairs of cells that show the same picture with other pixels; those of slides not given have no part.
        runs: as for `find_shared`.

    Returns:
        For each slide that has copies, row -> original.
    """
    digests_of = dict(slides)
    copies: dict[str, dict[int, CopyOf]] = {}
    for original, *others in find_runs(slides, near) if runs is None else runs:
        for cell in others:
            known = CopyOf(original.slide_id, original.row, _differ(digests_of, cell, original))
            copies.setdefault(cell.slide_id, {})[cell.row] = known
    return {slide_id: dict(sorted(rows.items())) for slide_id, rows in copies.items()}


def _differ(digests: Mapping[str, Digests], one: CopyOf, other: CopyOf) -> bool:
    return not np.array_equal(digests[one.slide_id][one.row], digests[other.slide_id][other.row])


def find_runs(slides: Sequence[tuple[str, Digests]], near: Sequence[tuple[CellAt, CellAt]] = ()) -> Runs:
    """Groups of two and more cells of one picture, each in slide order; arguments as for `find_copies`.

    One sort: n log n.
    """
    lengths = [len(digests) for _, digests in slides]
    if not sum(lengths):
        return []
    stacked = np.ascontiguousarray(np.concatenate([digests for _, digests in slides]))
    starts = np.concatenate([[0], np.cumsum(lengths)])
    first = {slide_id: int(start) for (slide_id, _), start in zip(slides, starts, strict=False)}
    near = [(one, other) for one, other in near if one[0] in first and other[0] in first]
    keys = _joined(stacked, [(first[one[0]] + one[1], first[other[0]] + other[1]) for one, other in near])
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    bounds = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1], [True]]))
    # The stable sort leaves equal cells in slide order.
    several = np.flatnonzero(np.diff(bounds) > 1)
    runs = [order[bounds[i] : bounds[i + 1]] for i in several if stacked[order[bounds[i]]].any()]
    return [[CopyOf(slides[slide][0], row) for slide, row in (locate(int(c), starts) for c in run)] for run in runs]


def _joined(stacked: Digests, near: Sequence[tuple[int, int]]) -> npt.NDArray[np.int64]:
    """A number for each cell, the same for cells of one picture: by digest, and along chains of near copies."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    _, keys = np.unique(stacked.view(np.dtype((np.void, DIGEST_BYTES))).ravel(), return_inverse=True)
    if not near:
        return np.asarray(keys, np.int64)
    one, other = (keys[np.array(side)] for side in zip(*near, strict=True))
    size = int(keys.max()) + 1
    _, joined = connected_components(coo_array((np.ones(len(one)), (one, other)), (size, size)), directed=False)
    return np.asarray(joined[keys], np.int64)


def locate(index: int, starts: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Number of the slide and row in it, of a cell counted over all slides; slide i begins at starts[i]."""
    slide = int(np.searchsorted(starts, index, side="right")) - 1
    return slide, index - int(starts[slide])
