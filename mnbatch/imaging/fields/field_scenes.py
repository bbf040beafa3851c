"""Fields of one slide that show the same: a scene seen twice fails the slide, a cell in an overlap is counted once.

Names may say nothing of it. Two tests, both on what was found:

* **The same scene.** Details of whole fields correlate without a shift, and their cells are in the same places, as in
  focal planes, channels or times of one field. Nothing says which of them is to be counted, so the slide fails.
* **Overlap.** Pictures of scored cells of two fields correlate in their fine structure, and such pairs of two fields
  agree in one shift. Cells of the later field that are then in the place of a cell of the earlier one are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from mnbatch.assay.cells import CellCrop, ReadItem
from mnbatch.assay.field_records import FieldReport, FoundAt
from mnbatch.assay.near_copies import SIDE, fine_structure
from mnbatch.assay.reasons import Named, say
from mnbatch.errors import SlideError
from mnbatch.imaging.formats.likeness_of_pages import FINE_SIDE, SAME_FIELD

_NO_CELLS = ("small_body", "apoptotic")
_SAME_PLACE = 0.5
"""Nucleus diameters. Cells of two focal planes are at most so far apart."""

_LEAST_CELLS, _LEAST_SHARE = 3, 0.5
"""Two fields are of one scene where so many cells, and such a share of the fewer ones, are in the same places. Of two
fields of six cells each it happens by chance once in a million."""

_CLEARLY, _PARTS = 0.5, 8.0
"""Correlation of fields, and parts of them (of 64) that it comes from, that are enough whatever cells were found."""

_SPARSE_SHARE, _SPARSE_FIELDS = 0.3, 3
"""Of fields with one or two cells a pair may agree by chance; where so many do, they are one scene."""

_MAY_BE_ONE = 0.75
_ENOUGH = ((1, 0.94), (2, 0.88), (3, 0.8))
"""Cells of two fields with one shift, and the correlation of their fine structure that is enough for an overlap. Of
4106 pairs of different simulated cells the highest is 0.87, of 47 cells in two noisy pictures the lowest is 0.96."""

_FOUND_AGAIN = 0.6
"""Share of the cells in an overlap that the other field must have, too."""

_TOLERANCE = 0.25
"""Nucleus diameters by which shifts of cells of two fields may differ."""

_ONE_CELL = 0.35
"""Nucleus diameters between the places of one cell in two fields that overlap."""

_SAME_FRAME = 0.7
"""Two fields that share more than this of their area are one scene."""

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.float64]


@dataclass(slots=True, eq=False)
class _Field:
    """What is kept of a field that was seen.

    Attributes:
        cells: in the order of its report.
        places: (n, 2), x and y of those that can be cells; `whole`: of those that its edge does not cut; `scored`: of
            those that are counted.
        diameter: median of their nuclei, pixels.
        digests: of the crops of its scored cells.
    """

    source: str
    size: tuple[int, int]
    cells: tuple[FoundAt, ...]
    places: Places
    whole: Places
    scored: Places
    diameter: float
    digests: frozenset[str]


@dataclass(slots=True, eq=False)
class _Pictures:
    """Fine structure of the pictures of scored cells seen so far, unit vectors of one row a cell."""

    rows: list[Floats] = field(default_factory=list)
    of_field: list[int] = field(default_factory=list)
    places: list[tuple[float, float]] = field(default_factory=list)
    blocks: list[Floats] = field(default_factory=list)

    def alike(self, pictures: Floats) -> list[tuple[int, int, float]]:
        """Number of a new picture, of a known one, and their correlation, for all pairs that may be one cell."""
        found = []
        start = 0
        for block in [*self.blocks, np.stack(self.rows)] if self.rows else self.blocks:
            values = pictures @ block.T
            for new, known in np.argwhere(values >= _MAY_BE_ONE):
                found.append((int(new), start + int(known), float(values[new, known])))
            start += len(block)
        return found

    def add(self, pictures: Floats, number: int, places: Sequence[tuple[float, float]]) -> None:
        self.rows.extend(pictures)
        self.of_field.extend([number] * len(pictures))
        self.places.extend(places)
        if len(self.rows) >= 256:
            self.blocks.append(np.stack(self.rows))
            self.rows.clear()


class FieldScenes:
    """The fields of a slide as they pass by, in their order."""

    def __init__(self) -> None:
        self._fields: list[_Field] = []
        self._details: list[npt.NDArray[np.float16]] = []
        self._pictures = _Pictures()
        self._same: dict[int, int] = {}
        self._sparse: dict[int, int] = {}

    def once(self, items: Sequence[ReadItem]) -> list[ReadItem]:
        """The items of a file, without cells that an earlier field has, and with that reason in the reports."""
        kept: list[ReadItem] = []
        crops: list[CellCrop] = []
        for item in items:
            if isinstance(item, CellCrop) and item.found is not None:
                crops.append(item)
            elif isinstance(item, FieldReport):
                kept.extend(self._field(item, crops))
                crops = []
            else:
                kept.append(item)
        return [*kept, *crops]

    def trouble(self) -> SlideError | None:
        """Why the slide cannot be counted: fields that show one scene."""
        same = dict(self._same)
        with_cells = sum(bool(len(one.places)) for one in self._fields)
        if len(self._sparse) >= max(_SPARSE_FIELDS, _SPARSE_SHARE * with_cells):
            same |= self._sparse
        if not same:
            return None
        later, earlier = next(iter(same.items()))
        file, other = (Named("file", self._fields[i].source) for i in (earlier, later))
        why = say("same-scene", count=len(same), fields=len(self._fields), file=file, other=other)
        return SlideError(why, say("same-scene-do"))

    def _field(self, report: FieldReport, crops: list[CellCrop]) -> list[ReadItem]:
        bare = replace(report, detail=b"")
        if report.problem:
            return [*crops, bare]
        new = _known(report, crops)
        number = len(self._fields)
        self._compare_scene(new, report.detail, number)
        usable = [crop for crop in crops if crop.likeness is not None and crop.found is not None]
        pictures = _fine(usable)
        shared = self._overlaps(new, pictures, [_place(crop) for crop in usable]) if number not in self._same else {}
        self._fields.append(new)
        self._pictures.add(pictures, number, [_place(crop) for crop in usable])
        if not shared:
            return [*crops, bare]
        cells = tuple(_marked(cell) if i in shared else cell for i, cell in enumerate(bare.cells))
        gone = {_mark(bare.cells[i]) for i in shared}
        left = [crop for crop in crops if crop.found is None or _mark(crop.found) not in gone]
        return [*left, replace(bare, cells=cells)]

    # The same scene.

    def _compare_scene(self, new: _Field, detail: bytes, number: int) -> None:
        values = np.frombuffer(detail, np.float16) if detail else np.zeros(FINE_SIDE**2, np.float16)
        mine = values.astype(np.float32)
        for i in self._alike_fields(mine):
            other = self._fields[i]
            if other.size != new.size or (new.digests and new.digests <= other.digests):
                continue  # of copies of a file each cell is counted once, which is another rule
            met = _met(new, other)
            fewer = min(len(new.places), len(other.places))
            correlation = self._details[i].astype(np.float32) * mine
            if (met >= _LEAST_CELLS and met >= _LEAST_SHARE * fewer) or _is_clear(correlation):
                self._same.setdefault(number, i)
            elif fewer and met == fewer and float(correlation.sum()) >= _CLEARLY:
                self._sparse.setdefault(number, i)
        self._details.append(values)

    def _alike_fields(self, mine: Floats) -> list[int]:
        found = []
        for start in range(0, len(self._details), 256):
            block = np.stack(self._details[start : start + 256]).astype(np.float32)
            found += (start + np.flatnonzero(block @ mine >= SAME_FIELD)).tolist()
        return found

    # Overlap.

    def _overlaps(self, new: _Field, pictures: Floats, places: list[tuple[float, float]]) -> dict[int, int]:
        """Number of a cell of the report -> field that has it, too."""
        if not len(pictures) or not self._fields:
            return {}
        pairs: dict[int, list[tuple[float, float, float]]] = {}
        for mine, theirs, likeness in self._pictures.alike(pictures):
            x, y = self._pictures.places[theirs]
            shift = x - places[mine][0], y - places[mine][1], likeness
            pairs.setdefault(self._pictures.of_field[theirs], []).append(shift)
        shared: dict[int, int] = {}
        for number in sorted(pairs):
            other = self._fields[number]
            found = _common_shift(pairs[number], _TOLERANCE * max(other.diameter, new.diameter, 8.0))
            if found is None or (new.digests and new.digests <= other.digests):
                continue
            shift, count = found
            if not _agree(new, other, shift):
                continue
            if count > 1 and _shared_area(shift, new.size, other.size) > _SAME_FRAME:
                self._same.setdefault(len(self._fields), number)
                continue
            for i in _covered(new, other, shift):
                shared.setdefault(i, number)
        return shared


def _known(report: FieldReport, crops: Sequence[CellCrop]) -> _Field:
    cells = [cell for cell in report.cells if cell.cell_class not in _NO_CELLS]
    areas = [cell.nucleus_area / max(1, cell.nuclei) for cell in cells if cell.nucleus_area]
    return _Field(
        source=report.source,
        size=(report.height, report.width),
        cells=report.cells,
        places=_places(cells),
        whole=_places([cell for cell in cells if cell.cell_class != "border"]),
        scored=_places([cell for cell in cells if not cell.reason]),
        diameter=2 * math.sqrt(float(np.median(areas)) / math.pi) if areas else 0.0,
        digests=frozenset(crop.digest for crop in crops),
    )


def _places(cells: Sequence[FoundAt]) -> Places:
    return np.array([(cell.x, cell.y) for cell in cells], np.float64).reshape(-1, 2)


def _mark(cell: FoundAt) -> tuple[float, float]:
    return cell.x, cell.y


def _place(crop: CellCrop) -> tuple[float, float]:
    assert crop.found is not None
    return crop.found.x, crop.found.y


def _marked(cell: FoundAt) -> FoundAt:
    """A cell that an earlier field has: for this one it is a cell at its edge, and its class is counted there."""
    return replace(cell, cell_class="border", reason=say("in-overlap"), at_border=True)


def _fine(crops: Sequence[CellCrop]) -> Floats:
    thumbnails = [
        np.frombuffer(crop.likeness.thumbnail, np.uint8).reshape(SIDE, SIDE) for crop in crops if crop.likeness
    ]
    if not thumbnails:
        return np.empty((0, (SIDE // 2) ** 2), np.float32)
    rows = fine_structure(np.stack(thumbnails)).reshape(len(thumbnails), -1)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6), np.float32)


def _met(new: _Field, other: _Field) -> int:
    """Cells of one field that are where the other has one, each of these once."""
    if not len(new.places) or not len(other.places):
        return 0
    away = np.linalg.norm(new.places[:, None] - other.places[None], axis=2)
    near = away <= _SAME_PLACE * max(new.diameter, other.diameter)
    return int(min(near.any(axis=0).sum(), near.any(axis=1).sum()))


def _is_clear(products: Floats) -> bool:
    """Whether two fields correlate clearly, in many parts of them."""
    if float(products.sum()) < _CLEARLY:
        return False
    parts = products.reshape(8, FINE_SIDE // 8, 8, FINE_SIDE // 8).sum(axis=(1, 3)).clip(min=0)
    return float(parts.sum()) ** 2 >= _PARTS * float((parts**2).sum())


def _common_shift(pairs: list[tuple[float, float, float]], tolerance: float) -> tuple[tuple[float, float], int] | None:
    """The shift in which most (then the most alike) pairs of cells agree, and their number; None where none will do."""
    best: tuple[int, float, tuple[float, float]] | None = None
    for x, y, _ in pairs:
        near = [pair for pair in pairs if math.hypot(pair[0] - x, pair[1] - y) <= tolerance]
        likeness = sorted((pair[2] for pair in near), reverse=True)
        enough = any(len(likeness) >= count and likeness[count - 1] >= least for count, least in _ENOUGH)
        shift = float(np.median([pair[0] for pair in near])), float(np.median([pair[1] for pair in near]))
        if enough and (best is None or (len(near), likeness[0]) > best[:2]):
            best = len(near), likeness[0], shift
    return None if best is None else (best[2], best[0])


def _shared_area(shift: tuple[float, float], new: tuple[int, int], other: tuple[int, int]) -> float:
    """Share of the smaller field that both show."""
    width = min(new[1] + shift[0], other[1]) - max(shift[0], 0)
    height = min(new[0] + shift[1], other[0]) - max(shift[1], 0)
    return max(0.0, width) * max(0.0, height) / min(new[0] * new[1], other[0] * other[1])


def _agree(new: _Field, other: _Field, shift: tuple[float, float]) -> bool:
    """Whether most cells in the overlap of two fields, away from its edge, are in both of them."""
    edge = max(new.diameter, other.diameter)
    near = max(4.0, _SAME_PLACE * edge)
    moved = np.array(shift)
    inside = [
        (_within(new.whole, other.size, moved, edge) + moved, other.places),
        (_within(other.whole, new.size, -moved, edge) - moved, new.places),
    ]
    cells = sum(len(places) for places, _ in inside)
    met = sum(_has(theirs, x, y, near) for places, theirs in inside for x, y in places)
    return met >= _FOUND_AGAIN * cells


def _within(places: Places, size: tuple[int, int], moved: Places, edge: float) -> Places:
    """Places that are inside another field of this size once they are moved, further than `edge` from its border."""
    there = places + moved
    kept = (there >= edge).all(axis=1) & (there[:, 0] < size[1] - edge) & (there[:, 1] < size[0] - edge)
    return np.asarray(places[kept])


def _covered(new: _Field, other: _Field, shift: tuple[float, float]) -> list[int]:
    """Cells of the new field, by their number in its report, that the other field has.

    A cell that would be scored is one of the other field only where that one scored it: so it is counted once, also
    where the edge of the other field cuts it.
    """
    near = max(4.0, _ONE_CELL * other.diameter)
    return [
        i
        for i, cell in enumerate(new.cells)
        if _has(other.whole if cell.reason else other.scored, cell.x + shift[0], cell.y + shift[1], near)
    ]


def _has(places: Places, x: float, y: float, near: float) -> bool:
    return bool(len(places)) and float(np.hypot(places[:, 0] - x, places[:, 1] - y).min()) <= near
