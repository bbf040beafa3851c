"""Two slides whose fields show the same scenes, in another plane or channel: cells in the same places.

Fields of one name (or number) are laid on each other as they are. Where that says nothing, every field is laid on every
other one with the shift that makes most cells meet: the same area, cut into fields at other places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FEWEST_MET, _LEAST_SHARE = 4, 0.6
"""Cells of two slides that are in the same places of fields with the same name (or number), and their share of the
cells that could be. Of fields with 20 cells each it happens by chance less than once in ten million."""

_CONTROL = 0.5
"""Where a larger share meets when the fields of one slide are mirrored or exchanged, places say nothing (a grid)."""

_NEAR = 0.4
"""Nucleus diameters between the places of a cell in two pictures of one scene."""

FEWEST_SHIFTED, _SHIFTED_SHARE = 12, 0.7
"""As `FEWEST_MET` and its share, of the cells of two fields that lie where both fields are after the best shift."""

_ONCE = 1.25
"""Times that the cells of a field may meet others: once, and some near the seam of two fields."""

_LEAST_OVERLAP = 0.15
"""Of a field's area; in less there are too few cells to know a shift by."""

MOST_FIELDS = 12
"""Fields of a slide that are compared."""

_MIRRORS = ((False, True), (True, False), (True, True))

Places = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class FieldCells:
    """Where the cells of a field are.

    Attributes:
        name: of its file, without folders; with its page.
        size: height and width, pixels.
        places: (n, 2), x and y.
        diameter: median of the nuclei, pixels.
    """

    name: str
    size: tuple[int, int]
    places: Places
    diameter: float


def same_scenes(
    one: Sequence[FieldCells], other: Sequence[FieldCells], *, shifted: bool = True
) -> tuple[tuple[int, int], ...]:
    """Pairs of fields (numbers in both) that show the same scenes; none where the slides are of others.

    Args:
        shifted: also look for the same area in fields that were cut at other places.
    """
    found = _unshifted(one, other)
    return _shifted(one, other) if shifted and not found else found


def _unshifted(one: Sequence[FieldCells], other: Sequence[FieldCells]) -> tuple[tuple[int, int], ...]:
    pairs = _partners(one, other)
    met = [_met(one[i], other[j], other[j].places) for i, j in pairs]
    possible = sum(min(len(one[i].places), len(other[j].places)) for i, j in pairs)
    if sum(met) < FEWEST_MET or sum(met) < _LEAST_SHARE * possible:
        return ()
    if max(_by_chance(one, other, pairs)) > _CONTROL * sum(met):
        return ()
    return tuple(pair for pair, count in zip(pairs, met, strict=True) if count)


def _shifted(one: Sequence[FieldCells], other: Sequence[FieldCells]) -> tuple[tuple[int, int], ...]:
    """Fields of which most cells meet after a shift, and fewer when one of them is mirrored.

    None where cells of a field meet those of more fields than they can lie in: such places say nothing.
    """
    found: dict[tuple[int, int], int] = {}
    for i, ours in enumerate(one):
        for j, theirs in enumerate(other):
            if min(len(ours.places), len(theirs.places)) < FEWEST_SHIFTED:
                continue
            met, possible = _met_shifted(ours, theirs, theirs.places)
            if met < FEWEST_SHIFTED or met < _SHIFTED_SHARE * possible:
                continue
            mirrored = (_mirrored(theirs, down=down, right=right) for down, right in _MIRRORS)
            if max(_met_shifted(ours, theirs, places)[0] for places in mirrored) <= _CONTROL * met:
                found[i, j] = met
    for i, ours in enumerate(one):
        if sum(met for (number, _), met in found.items() if number == i) > _ONCE * len(ours.places):
            return ()
    return tuple(found)


def _met_shifted(one: FieldCells, other: FieldCells, places: Places) -> tuple[int, int]:
    """Cells that meet after the best shift, and how many could: the fewer of those that lie in both fields."""
    near = _NEAR * max(one.diameter, other.diameter, 1.0)
    shift, votes = _commonest((one.places[:, None] - places[None]).reshape(-1, 2), near)
    if votes < FEWEST_SHIFTED:
        return 0, 0
    low = np.maximum(0, shift)
    high = np.minimum(one.size[::-1], np.add(other.size[::-1], shift))
    if np.prod(np.maximum(0, high - low)) < _LEAST_OVERLAP * min(np.prod(one.size), np.prod(other.size)):
        return 0, 0
    ours, theirs = one.places, places + shift
    away = np.linalg.norm(ours[:, None] - theirs[None], axis=2) <= near
    met = int(min(away.any(axis=0).sum(), away.any(axis=1).sum()))
    possible = min(_inside(ours, low + near, high - near), _inside(theirs, low + near, high - near))
    return met, max(met, possible)


def _commonest(shifts: Places, near: float) -> tuple[Places, int]:
    """The mean of the shifts in the fullest square of twice this width, and how many these are."""
    squares = np.floor((shifts - shifts.min(axis=0)) / near).astype(int)
    counts = np.zeros(squares.max(axis=0) + 2, int)
    np.add.at(counts, tuple(squares.T), 1)
    blocks = counts[:-1, :-1] + counts[1:, :-1] + counts[:-1, 1:] + counts[1:, 1:]
    first = np.array(np.unravel_index(blocks.argmax(), blocks.shape))
    there = ((squares == first) | (squares == first + 1)).all(axis=1)
    return np.asarray(shifts[there].mean(axis=0)), int(there.sum())


def _inside(places: Places, low: Places, high: Places) -> int:
    return int(((places >= low) & (places <= high)).all(axis=1).sum())


def _partners(one: Sequence[FieldCells], other: Sequence[FieldCells]) -> list[tuple[int, int]]:
    """Fields of one name and size; where no name comes again and there are equally many, those of one number."""
    by_name = {field.name: j for j, field in enumerate(other)}
    pairs = [(i, by_name[field.name]) for i, field in enumerate(one) if field.name in by_name]
    if not pairs and len(one) == len(other):
        pairs = [(i, i) for i in range(len(one))]
    return [(i, j) for i, j in pairs if one[i].size == other[j].size]


def _by_chance(
    one: Sequence[FieldCells], other: Sequence[FieldCells], pairs: Sequence[tuple[int, int]]
) -> tuple[int, ...]:
    """Cells that meet with the fields of the other slide mirrored in three ways, and with the next field in place."""
    mirrored = [
        sum(_met(one[i], other[j], _mirrored(other[j], down=down, right=right)) for i, j in pairs)
        for down, right in _MIRRORS
    ]
    following = [*(j for _, j in pairs[1:]), *(j for _, j in pairs[:1])]
    exchanged = sum(_met(one[i], other[j], other[j].places) for (i, _), j in zip(pairs, following, strict=True))
    return (*mirrored, exchanged if len(pairs) > 1 else 0)


def _mirrored(field: FieldCells, *, down: bool, right: bool) -> Places:
    x, y = field.places.T if len(field.places) else (np.empty(0), np.empty(0))
    height, width = field.size
    return np.stack([width - 1 - x if right else x, height - 1 - y if down else y], axis=1)


def _met(one: FieldCells, other: FieldCells, places: Places) -> int:
    """Cells of one field that are where the other has one, each of these once."""
    if not len(one.places) or not len(places):
        return 0
    away = np.linalg.norm(one.places[:, None] - places[None], axis=2)
    near = away <= _NEAR * max(one.diameter, other.diameter)
    return int(min(near.any(axis=0).sum(), near.any(axis=1).sum()))
