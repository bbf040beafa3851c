"""Groups of nuclei become cells with a place, a class and a reason."""

from __future__ import annotations

import numpy as np

from mnbatch.assay.classes import CellClass
from mnbatch.imaging.segmentation.found import Box, FoundCell, Labels
from mnbatch.imaging.segmentation.nuclei import Nuclei
from mnbatch.imaging.segmentation.pairing import REASONS, Group
from mnbatch.imaging.segmentation.regions import IntArray, Regions, areas_and_boxes
from mnbatch.imaging.segmentation.settings import SegmentationSettings

_CUT = 0.5
"""A body that lies along the edge for less than this many nucleus diameters is whole: of one about two diameters wide
the edge takes less than 0.03 of a diameter, half of the smallest micronucleus."""


def cells_of_groups(
    groups: list[Group], regions: Regions, bodies: Labels | None, nuclei: Nuclei, settings: SegmentationSettings
) -> tuple[FoundCell, ...]:
    """One cell a group, label i + 1 for group i, then the small bodies that lie in no cell."""
    bodied = None if bodies is None else areas_and_boxes(bodies)
    cut = _cut_lengths(bodies, len(groups)) > _CUT * nuclei.diameter
    owners = _owners_of_small(nuclei, bodies, groups)
    held = np.bincount(owners, minlength=len(groups) + 1)
    cells = [
        _cell(label, group, regions, bodied, bool(cut[label]), int(held[label]), settings)
        for label, group in enumerate(groups, start=1)
    ]
    return tuple(cells)


def _cell(
    label: int,
    group: Group,
    regions: Regions,
    bodied: tuple[IntArray, IntArray] | None,
    cut: bool,
    small: int,
    settings: SegmentationSettings,
) -> FoundCell:
    index = np.array(group.nuclei) - 1
    nuclear = _around(regions.boxes[index])
    has_body = bodied is not None and label <= len(bodied[0]) and bodied[0][label - 1] > 0
    box, area, border = nuclear, None, bool(regions.at_border[index].any())
    if bodied is not None and has_body:
        box = _around(np.stack([np.array(nuclear), bodied[1][label - 1]]))
        area, border = int(bodied[0][label - 1]), border or cut
    kind: CellClass = "border" if border and settings.cells == "binucleated" else group.cell_class
    wanted = settings.cells == "all" or kind == "binucleated"
    return FoundCell(
        label=label,
        x=(nuclear[0] + nuclear[2] - 1) / 2,
        y=(nuclear[1] + nuclear[3] - 1) / 2,
        box=box,
        cell_class=kind,
        reason="" if wanted else REASONS[kind],
        nuclei=group.nuclei,
        nucleus_areas=tuple(int(area) for area in regions.area[index]),
        cell_area=area,
        at_border=border,
        small_bodies=small,
    )


def _cut_lengths(bodies: Labels | None, count: int) -> IntArray:
    """Pixels of each body on the edge of the field, entry i for label i."""
    if bodies is None:
        return np.zeros(count + 1, np.intp)
    edge = np.concatenate([bodies[0], bodies[-1], bodies[:, 0], bodies[:, -1]])
    return np.asarray(np.bincount(edge, minlength=count + 1), dtype=np.intp)


def _around(boxes: IntArray) -> Box:
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _owners_of_small(nuclei: Nuclei, bodies: Labels | None, groups: list[Group]) -> IntArray:
    """Cell in whose body each small body lies, 0 for none: the label under its first pixel."""
    inside = np.flatnonzero(nuclei.small > 0)
    if bodies is None or not len(inside):
        return np.zeros(0, np.intp)
    first = inside[np.unique(nuclei.small.ravel()[inside], return_index=True)[1]]
    return bodies.ravel()[first].astype(np.intp)
