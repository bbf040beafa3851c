"""From nuclei to cells: which main nuclei lie within one cytoplasm, and what kind of cell that makes.

The criteria are those of the HUMN project for cells that may be scored (Fenech 2003, doi
10.1016/S1383-5718(02)00249-8; Fenech 2007, doi 10.1038/nprot.2007.77): two nuclei within the same cytoplasmic boundary,
of about the same size, staining pattern and intensity, which may touch but whose boundaries can be told apart, and a
cytoplasm that can be told from the neighbours'.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from mnbatch.assay.classes import CellClass, division_class
from mnbatch.imaging.segmentation.found import Labels
from mnbatch.imaging.segmentation.regions import Regions
from mnbatch.imaging.segmentation.seams import Pair
from mnbatch.imaging.segmentation.settings import SegmentationSettings

_MOST_NUCLEI = 6
"""More nuclei than this in one group are a clump of cells."""

_BODY_NECK = ((0.3, 0.5), (0.45, 0.8), (0.6, 1.3), (0.7, 1.4))
"""Two nuclei this far apart share a cytoplasm if the line that divides it is at least this long: gap between the
nuclei in median diameters, length in diameters of the smaller nucleus. Nuclei of two cells that touch have the
cytoplasm of both between them, so close ones are rarely of two cells, and distant ones need a broad common body."""

_ENOUGH = 8
_CONDENSED = ((1.3, 0.7), (1.45, 1.0))
"""Apoptotic from this stain on and up to this mean area of the pieces, in medians of the field."""

REASONS: dict[CellClass, str] = {
    "mononucleated": "one main nucleus",
    "binucleated": "",
    "trinucleated": "three main nuclei",
    "multinucleated": "four or more main nuclei",
    "apoptotic": "condensed or broken up like an apoptotic nucleus",
    "overlapping": "nuclei or cytoplasm overlap with a neighbour's",
    "border": "cut by the edge of the field",
    "small_body": "too small for a main nucleus",
}


@dataclass(frozen=True, slots=True)
class Group:
    """Main nuclei (labels) of one cell, and what the cell is."""

    nuclei: tuple[int, ...]
    cell_class: CellClass


def outline_gaps(labels: Labels, regions: Regions, largest: float) -> dict[Pair, float]:
    """Distance between the outlines of each two nuclei that are at most `largest` px apart; 0 where they touch."""
    # What lies beyond the edge is no nucleus, so pixels on the edge belong to the outline.
    flat, width = np.pad(labels, 1).ravel(), labels.shape[1] + 2
    inside = np.flatnonzero(flat > 0)
    owner = flat[inside]
    inner = (owner == flat[inside - width]) & (owner == flat[inside + width])
    inner &= (owner == flat[inside - 1]) & (owner == flat[inside + 1])
    rows, columns = np.divmod(inside[~inner], width)
    rows, columns, owner = rows - 1, columns - 1, owner[~inner]
    order = np.argsort(owner, kind="stable")
    points = np.stack([columns, rows], axis=1)[order].astype(np.float64)
    starts = np.searchsorted(owner[order], np.arange(1, len(regions.area) + 2))
    outlines = [points[starts[i] : starts[i + 1]] for i in range(len(regions.area))]
    gaps: dict[Pair, float] = {}
    for a, b in _near(regions, largest):
        distance = float(cKDTree(outlines[a]).query(outlines[b])[0].min())
        if distance - 1 <= largest:
            gaps[(a + 1, b + 1)] = max(0.0, distance - 1)
    return gaps


def _near(regions: Regions, largest: float) -> list[tuple[int, int]]:
    """Pairs whose boxes are at most `largest` apart."""
    if len(regions.area) < 2:
        return []
    reach = float((regions.boxes[:, 2:] - regions.boxes[:, :2]).max()) + largest
    pairs = cKDTree(np.stack([regions.x, regions.y], axis=1)).query_pairs(reach * 2**0.5, output_type="ndarray")
    a, b = regions.boxes[pairs[:, 0]], regions.boxes[pairs[:, 1]]
    apart = np.maximum(np.maximum(a[:, :2], b[:, :2]) - np.minimum(a[:, 2:], b[:, 2:]), 0).max(axis=1)
    return sorted((int(i), int(j)) for i, j in pairs[apart <= largest + 1])


def group_nuclei(
    regions: Regions,
    gaps: dict[Pair, float],
    seams: dict[Pair, float] | None,
    diameter: float,
    settings: SegmentationSettings,
) -> list[Group]:
    """Group nuclei into cells.

    Args:
        seams: length of the line that divides the bodies of two nuclei; None where no cytoplasm can be seen.
    """
    if seams is None:
        links = _links_by_distance(gaps, settings.pair_gap_close * diameter)
    else:
        links = [pair for pair in sorted(gaps) if _one_body(pair, gaps[pair] / diameter, seams, regions)]
    return [group_within_body(members, regions, settings) for members in _connected(len(regions.area), links)]


def _links_by_distance(gaps: dict[Pair, float], close: float) -> list[Pair]:
    """Where no cytoplasm can be seen: close nuclei, and pairs further apart that are each other's nearest."""
    linked = {label for pair, gap in gaps.items() if gap <= close for label in pair}
    nearest: dict[int, Pair] = {}
    for pair in sorted(gaps, key=lambda pair: (gaps[pair], pair)):
        for label in pair:
            nearest.setdefault(label, pair)
    return [
        pair
        for pair in sorted(gaps)
        if gaps[pair] <= close or (not linked & set(pair) and all(nearest[label] == pair for label in pair))
    ]


def _one_body(pair: Pair, gap: float, seams: dict[Pair, float], regions: Regions) -> bool:
    smaller = float(min(regions.diameter[pair[0] - 1], regions.diameter[pair[1] - 1]))
    gaps, lengths = zip(*_BODY_NECK, strict=True)
    least = float(np.interp(gap, np.array(gaps), np.array(lengths)))
    return seams.get(pair, 0.0) >= least * smaller


def group_within_body(members: tuple[int, ...], regions: Regions, settings: SegmentationSettings) -> Group:
    """The cell that these nuclei make if they lie within one cytoplasm."""
    if condensed(members, regions):
        return Group(members, "apoptotic")
    if len(members) > _MOST_NUCLEI:
        return Group(members, "overlapping")
    if len(members) == 2 and not alike(members, regions, settings):
        return Group(members, "overlapping")
    return Group(members, division_class(len(members)))


def condensed(members: Iterable[int], regions: Regions) -> bool:
    """Whether nuclei are far denser than the field's and smaller, as those of apoptotic cells (Fenech 2007).

    Said only where the field has enough nuclei to compare with.
    """
    if len(regions.area) < _ENOUGH:
        return False
    index: npt.NDArray[np.intp] = np.array(list(members), np.intp) - 1
    area = float(regions.area[index].mean() / np.median(regions.area))
    stain = float(np.average(regions.stain[index], weights=regions.area[index]) / np.median(regions.stain))
    return any(stain >= least and area <= most for least, most in _CONDENSED)


def alike(members: Iterable[int], regions: Regions, settings: SegmentationSettings) -> bool:
    """Whether nuclei are about equal in size and in stain."""
    index: npt.NDArray[np.intp] = np.array(list(members), np.intp) - 1
    area, stain = regions.area[index], regions.stain[index]
    return bool(
        area.min() >= settings.pair_size_ratio * area.max() and stain.min() >= settings.pair_stain_ratio * stain.max()
    )


def _connected(count: int, links: list[Pair]) -> list[tuple[int, ...]]:
    """Labels 1..count in groups joined by links, in order of their smallest label."""
    root = list(range(count + 1))

    def find(label: int) -> int:
        while root[label] != label:
            label = root[label]
        return label

    for a, b in links:
        first, second = sorted((find(a), find(b)))
        root[second] = first
    groups: dict[int, list[int]] = {}
    for label in range(1, count + 1):
        groups.setdefault(find(label), []).append(label)
    return [tuple(group) for group in groups.values()]
