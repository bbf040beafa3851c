"""Regions of a whole slide overlap; a cell that two of them show is counted once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from mnbatch.assay.cells import CellCrop, ReadItem, UnreadableCell
from mnbatch.assay.fields import FieldReport, FoundAt

REACH = 8
"""Pixels by which cores overlap: a cell on a seam, whose centre comes out a little different in two regions, is found
at least once; in the second of them it is dropped."""

_SAME = 0.35
"""Two cells of neighbouring regions are one when their centres are closer than this share of a nucleus's diameter."""

_GRID = 64


class Seams:
    """Remembers cells of earlier regions and drops those that come again; a few numbers a cell are kept."""

    def __init__(self) -> None:
        self._places: dict[tuple[int, int], list[tuple[float, float]]] = {}

    def once(self, items: Sequence[ReadItem]) -> list[ReadItem]:
        """The items of one region without cells of earlier regions."""
        kept: list[ReadItem] = []
        new: list[FoundAt] = []
        for item in items:
            if isinstance(item, CellCrop | UnreadableCell) and item.found is not None and self._known(item.found):
                continue
            if isinstance(item, FieldReport):
                item = replace(item, cells=tuple(cell for cell in item.cells if not self._known(cell)))
                new.extend(item.cells)
            kept.append(item)
        for cell in new:
            self._places.setdefault((int(cell.x) // _GRID, int(cell.y) // _GRID), []).append((cell.x, cell.y))
        return kept

    def _known(self, cell: FoundAt) -> bool:
        near = max(2.0 * REACH, _SAME * 2 * math.sqrt(cell.nucleus_area / max(1, cell.nuclei) / math.pi))
        column, row = int(cell.x) // _GRID, int(cell.y) // _GRID
        around = (self._places.get((column + i, row + j), ()) for i, j in product((-1, 0, 1), repeat=2))
        return any(math.dist((cell.x, cell.y), place) < near for places in around for place in places)
