"""Fields of one slide that show the same: a scene seen twice fails the slide, a cell in an overlap is counted once.

Names may say nothing of it. Two tests, both on what was found:

* **The same scene.** Details of whole fields correlate without a shift, and their cells are in the same places, as in
  focal planes, channels or times of one field. Nothing says which of them is to be counted, so the slide fails.
* **Overlap.** Pictures of scored cells of two fields correlate in their fine structure, and such pairs of two fields
  agree in one shift; or the stage's positions say where two fields overlap, and the same cells are there. Cells of the
  later field that are then in the place of a cell of the earlier one are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from mnbatch.assay.cells import CellCrop, ReadItem
from mnbatch.assay.field_records import FieldReport, FoundAt
from mnbatch.assay.near_copies import SIDE, fine_structure
from mnbatch.assay.reasons import Named, say
from mnbatch.errors import SlideError
from mnbatch.imaging.fields.stage_overlaps import StageOverlaps
from mnbatch.imaging.formats.likeness_of_pages import FINE_SIDE, SAME_FIELD

_NO_CELLS = ("small_body", "apoptotic")
_SAME_PLACE, _SAME_IN_BOTH = 0.5, 0.4
"""Nucleus diameters between the places of a cell in two fields that overlap, and in two pictures of one scene."""

_LEAST_CELLS, _LEAST_SHARE = 3, 0.6
"""Two fields are of one scene where so many cells, and such a share of the fewer ones, are in the same places. Of two
fields of six cells each it happens by chance less than once in a million."""

_CLEARLY, _PARTS = 0.5, 8.0
"""Correlation of fields, and parts of them (of 64) that it comes from, that are enough whatever cells were found."""

_FEW_FIELDS, _PATTERN_SHARE = 5, 0.5
"""Where of so many fields most correlate with most others, it is dust or light that they share, and no scene."""

_SPARSE_SHARE, _SPARSE_FIELDS = 0.3, 3
"""Of fields with one or two cells a pair may agree by chance; where so many do, they are one scene."""

_MAY_BE_ONE = 0.85
_ENOUGH_PAIRS, _ENOUGH = ((1, 0.8), (2, 0.72), (3, 0.65)), ((1, 0.86), (2, 0.8), (3, 0.74))
"""Cells of two fields with one shift, and the correlation of their fine structure that is enough for an overlap: of
cells with several nuclei, and of any. Of 6450 pairs of different simulated binucleated cells the highest is 0.63, of
178 163 of single nuclei 0.76; of 47 binucleated cells in two noisy pictures the lowest is 0.84."""

_FOUND_AGAIN = 0.75
"""Share of the cells in an overlap that the other field must have, too."""

_TOLERANCE = 0.25
"""Nucleus diameters by which shifts of cells of two fields may differ."""

_ONE_CELL = 0.35
"""Nucleus diameters between the places of one cell in two fields that overlap."""

_SAME_FRAME = 0.7
"""Two fields that share more than this of their area are one scene."""

_ROUGHLY_ALIKE = 0.2
_BLOCK = 256
_MOST_FIELDS, _MOST_CELLS = 20480, 20480
"""Earlier fields, and scored cells of them, with which a field is compared; bounds memory and time."""

Floats = npt.NDArray[np.float32]
Grey = npt.NDArray[np.uint8]
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
        stage, um: where the stage stood and the size of a pixel, micrometres, as far as they are known.
    """

    source: str
    size: tuple[int, int]
    cells: tuple[FoundAt, ...]
    places: Places
    whole: Places
    scored: Places
    diameter: float
    digests: frozenset[str]
    stage: tuple[float, float] | None = None
    um: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """A scored cell: number of its field, and its thumbnail (64, 64)."""

    field: int
    cell: FoundAt
    picture: Grey


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two cells that may be one.

    Attributes:
        x, y: from the place in the later field to that in the earlier one, pixels.
        paired: both have several nuclei.
    """

    x: float
    y: float
    likeness: float
    paired: bool


@dataclass(slots=True, eq=False)
class _Rows:
    """Unit vectors of what was seen, in blocks that are compared at once; the oldest are let go."""

    most: int
    blocks: list[tuple[int, Floats]] = field(default_factory=list)
    count: int = 0

    def add(self, rows: Floats) -> None:
        for row in rows:
            if self.count % _BLOCK == 0:
                self.blocks.append((self.count, np.zeros((_BLOCK, len(row)), np.float32)))
                self.blocks = self.blocks[-self.most :]
            self.blocks[-1][1][self.count % _BLOCK] = row
            self.count += 1

    def alike(self, rows: Floats, least: float) -> list[tuple[int, int, float]]:
        """Numbers of a given and of a known row, and their product, where it is at least this."""
        found = []
        for start, block in self.blocks:
            values = rows @ block.T
            found += [(int(a), start + int(b), float(values[a, b])) for a, b in np.argwhere(values >= least)]
        return found


class FieldScenes:
    """The fields of a slide as they pass by, in their order."""

    def __init__(self) -> None:
        self._fields: list[_Field] = []
        self._details: list[npt.NDArray[np.float16]] = []
        self._coarse = _Rows(most=_MOST_FIELDS // _BLOCK)
        self._pictures = _Rows(most=_MOST_CELLS // _BLOCK)
        self._cells: list[_Seen] = []
        self._same: dict[int, int] = {}
        self._clear: dict[int, list[int]] = {}
        self._sparse: dict[int, int] = {}
        self._stage = StageOverlaps()

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

    def warnings(self) -> tuple[str, ...]:
        """What a reader of the slide's number must know: positions of the stage that contradict the pictures."""
        return self._stage.warnings()

    def trouble(self) -> SlideError | None:
        """Why the slide cannot be counted: fields that show one scene."""
        same = dict(self._same)
        count = len(self._fields)
        clear = sum(map(len, self._clear.values()))
        if count < _FEW_FIELDS or clear <= _PATTERN_SHARE * count * (count - 1) / 2:
            same |= {later: earlier[0] for later, earlier in self._clear.items()}
        with_cells = sum(bool(len(one.places)) for one in self._fields)
        if len(self._sparse) >= max(_SPARSE_FIELDS, _SPARSE_SHARE * with_cells):
            same |= self._sparse
        if not same:
            return None
        later, earlier = min(same.items())
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
        usable = [crop for crop in crops if crop.likeness is not None]
        cells_seen = [crop.found for crop in usable if crop.found is not None]
        pictures = _thumbnails(usable)
        shared = self._overlaps(new, pictures, cells_seen) if number not in self._same else {}
        self._fields.append(new)
        self._pictures.add(fine_structure(pictures, halved=True))
        self._cells.extend(_Seen(number, cell, picture) for cell, picture in zip(cells_seen, pictures, strict=True))
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
        coarse = _halved(mine)
        for _, i, _ in self._coarse.alike(coarse[None], _ROUGHLY_ALIKE):
            other, products = self._fields[i], self._details[i].astype(np.float32) * mine
            copied = new.digests and new.digests <= other.digests  # each cell is counted once by another rule
            if other.size == new.size and not copied and float(products.sum()) >= SAME_FIELD:
                self._compare(new, other, products, (number, i))
        self._details.append(values)
        self._coarse.add(coarse[None])

    def _compare(self, new: _Field, other: _Field, products: Floats, pair: tuple[int, int]) -> None:
        met, fewer = _met(new, other), min(len(new.places), len(other.places))
        if met >= _LEAST_CELLS and met >= _LEAST_SHARE * fewer:
            self._same.setdefault(*pair)
        elif _is_clear(products) and (len(new.places) or len(other.places)):
            self._clear.setdefault(pair[0], []).append(pair[1])
        elif fewer and met == fewer and float(products.sum()) >= _CLEARLY:
            self._sparse.setdefault(*pair)

    # Overlap.

    def _overlaps(self, new: _Field, pictures: Grey, cells: Sequence[FoundAt]) -> dict[int, int]:
        """Number of a cell of the report -> field that has it, too."""
        pairs = self._pairs(pictures, cells) if len(pictures) and self._cells else {}
        shared: dict[int, int] = {}
        for number in sorted({*pairs, *self._stage.neighbours(new, self._fields)}):
            other = self._fields[number]
            if new.digests and new.digests <= other.digests:
                continue
            found = _common_shift(pairs.get(number, []), _TOLERANCE * max(other.diameter, new.diameter, 8.0))
            seen = found[0] if found is not None and _agree(new, other, found[0]) else None
            if found and seen and found[1] > 1 and _shared_area(seen, new.size, other.size) > _SAME_FRAME:
                self._same.setdefault(len(self._fields), number)
                continue
            shift = self._stage.shift(new, other, seen, partial(_agree, new, other))
            for i in _covered(new, other, shift) if shift is not None else ():
                shared.setdefault(i, number)
        return shared

    def _pairs(self, pictures: Grey, cells: Sequence[FoundAt]) -> dict[int, list[_Pair]]:
        """Pairs of a cell of the new field and one of an earlier one that may be one cell, by the earlier field."""
        pairs: dict[int, list[_Pair]] = {}
        own = fine_structure(pictures)
        for mine, theirs, _ in self._pictures.alike(fine_structure(pictures, halved=True), _MAY_BE_ONE):
            seen, cell = self._cells[theirs], cells[mine]
            likeness = float(own[mine] @ fine_structure(seen.picture[None])[0])
            paired = min(seen.cell.nuclei, cell.nuclei) > 1
            pairs.setdefault(seen.field, []).append(_Pair(seen.cell.x - cell.x, seen.cell.y - cell.y, likeness, paired))
        return pairs


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
        stage=report.stage,
        um=report.um_per_pixel,
    )


def _places(cells: Sequence[FoundAt]) -> Places:
    return np.array([(cell.x, cell.y) for cell in cells], np.float64).reshape(-1, 2)


def _mark(cell: FoundAt) -> tuple[float, float]:
    return cell.x, cell.y


def _marked(cell: FoundAt) -> FoundAt:
    """A cell that an earlier field has: for this one it is a cell at its edge, and its class is counted there."""
    return replace(cell, cell_class="border", reason=say("in-overlap"), at_border=True)


def _thumbnails(crops: Sequence[CellCrop]) -> Grey:
    return np.array(
        [np.frombuffer(crop.likeness.thumbnail, np.uint8) for crop in crops if crop.likeness is not None], np.uint8
    ).reshape(-1, SIDE, SIDE)


def _met(new: _Field, other: _Field) -> int:
    """Cells of one field that are where the other has one, each of these once."""
    if not len(new.places) or not len(other.places):
        return 0
    away = np.linalg.norm(new.places[:, None] - other.places[None], axis=2)
    near = away <= _SAME_IN_BOTH * max(new.diameter, other.diameter)
    return int(min(near.any(axis=0).sum(), near.any(axis=1).sum()))


def _halved(details: Floats) -> Floats:
    """Half as many pixels a side, as a unit vector."""
    half = FINE_SIDE // 2
    rows = details.reshape(half, 2, half, 2).mean(axis=(1, 3)).ravel()
    return np.asarray(rows / max(float(np.linalg.norm(rows)), 1e-9), np.float32)


def _is_clear(products: Floats) -> bool:
    """Whether two fields correlate clearly, in many parts of them."""
    if float(products.sum()) < _CLEARLY:
        return False
    parts = products.reshape(8, FINE_SIDE // 8, 8, FINE_SIDE // 8).sum(axis=(1, 3)).clip(min=0)
    return float(parts.sum()) ** 2 >= _PARTS * float((parts**2).sum())


def _common_shift(pairs: list[_Pair], tolerance: float) -> tuple[tuple[float, float], int] | None:
    """The shift in which most (then the most alike) pairs of cells agree, and their number; None where none will do."""
    best: tuple[int, float, tuple[float, float]] | None = None
    for pair in pairs:
        near = [other for other in pairs if math.hypot(other.x - pair.x, other.y - pair.y) <= tolerance]
        paired = [other.likeness for other in near if other.paired]
        if not _are_enough(paired, _ENOUGH_PAIRS) and not _are_enough([other.likeness for other in near], _ENOUGH):
            continue
        shift = float(np.median([other.x for other in near])), float(np.median([other.y for other in near]))
        known = len(near), max(other.likeness for other in near), shift
        if best is None or known[:2] > best[:2]:
            best = known
    return None if best is None else (best[2], best[0])


def _are_enough(likeness: list[float], rule: tuple[tuple[int, float], ...]) -> bool:
    return any(sum(value >= least for value in likeness) >= count for count, least in rule)


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
