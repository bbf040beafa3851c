"""Two slides of one donor whose fields show the same scenes, in another plane or channel: cells in the same places."""

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

MOST_FIELDS = 12
"""Fields of a slide that are compared."""

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


def same_scenes(one: Sequence[FieldCells], other: Sequence[FieldCells]) -> tuple[tuple[int, int], ...]:
    """Pairs of fields (numbers in both) that show the same scenes; none where the slides are of others."""
    pairs = _partners(one, other)
    met = [_met(one[i], other[j], other[j].places) for i, j in pairs]
    possible = sum(min(len(one[i].places), len(other[j].places)) for i, j in pairs)
    if sum(met) < FEWEST_MET or sum(met) < _LEAST_SHARE * possible:
        return ()
    if max(_by_chance(one, other, pairs)) > _CONTROL * sum(met):
        return ()
    return tuple(pair for pair, count in zip(pairs, met, strict=True) if count)


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
        for down, right in ((False, True), (True, False), (True, True))
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
