"""Slides that show the same cells or fields, in another focal plane or stain: neither is counted.

Of one donor they would be counted twice; of two donors it is not known whose cells they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, takewhile
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mnbatch.assay.cells import ScoreRow
from mnbatch.assay.copies import CellAt
from mnbatch.assay.field_records import FoundAt
from mnbatch.assay.same_scene_fields import MOST_FIELDS, FieldCells, same_scenes
from mnbatch.assay.same_scene_slides import SlideCells, once, same_cells
from mnbatch.assay.slide_pairs import pairs_to_compare
from mnbatch.results.compared_slides import ComparedSlides, compared_as
from mnbatch.results.field_rows import StoredField
from mnbatch.results.records import SlideRecord

NEXT_STEP = (
    "Export one focal plane or stain alone; or say what the folders are with --layout, such as "
    "'{slide}/{plane}/{cell}.png' or with {channel} (docs/exports.md), in a new --out; or give --names plain, if these "
    "are slides of different cells."
)

DONORS_NEXT_STEP = (
    "Find out whose slide it is; take the wrong one out of the export, or correct the sample sheet. If these are "
    "slides of different cells, give --names plain."
)

_NO_CELLS = ("small_body", "apoptotic")


Grey = npt.NDArray[np.uint8]


class Stored(Protocol):
    """What is asked of the result store (`mnbatch.results.store.Store`)."""

    def spectra(self, record: SlideRecord) -> Grey: ...  # noqa: D102
    def thumbnails(self, record: SlideRecord) -> Callable[[int], Grey]: ...  # noqa: D102
    def digests(self, record: SlideRecord) -> Grey: ...  # noqa: D102
    def scores(self, record: SlideRecord) -> list[ScoreRow]: ...  # noqa: D102
    def fields(self, record: SlideRecord) -> list[StoredField]: ...  # noqa: D102
    def found(self, record: SlideRecord) -> Iterator[tuple[int, FoundAt]]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Sibling:
    """Another slide that shows the same.

    Attributes:
        slide_id: of the other slide.
        what: a cell (or field) of this slide and the one of the other slide that shows it, by their names.
        kind: what was compared.
        donors: of this slide and of the other one, where they are two; else "" and "".
    """

    slide_id: str
    what: tuple[str, str]
    kind: str
    donors: tuple[str, str] = ("", "")

    @property
    def next_step(self) -> str:
        """What a person can do."""
        return DONORS_NEXT_STEP if any(self.donors) else NEXT_STEP

    def reason(self) -> str:
        """Why the slide fails."""
        if any(self.donors):
            return (
                f"it shows the same {self.kind}s as slide {self.slide_id} of donor {self.donors[1]} ({self.what[0]} "
                f"and {self.what[1]}), so they cannot be donor {self.donors[0]}'s as well"
            )
        return (
            f"it shows the same {self.kind}s as slide {self.slide_id} of the same donor ({self.what[0]} and "
            f"{self.what[1]}), in another focal plane or stain: they would be counted twice"
        )


def find_siblings(
    store: Stored,
    records: Sequence[SlideRecord],
    donors: Mapping[str, str],
    near: Sequence[tuple[CellAt, CellAt]],
    known: ComparedSlides | None = None,
) -> dict[str, Sibling]:
    """Slides that show what another slide shows, each with the first such slide: of its donor, else of another one.

    Args:
        records: slides with a usable result.
        donors: slide_id -> donor, of slides that have one.
        near: pairs of cells that show the same picture saved again; those are counted once by another rule.
        known: what earlier comparisons found; two slides that were compared are not compared again. It is brought up
            to date.
    """
    slides = [record for record in records if record.slide_id in donors and not record.each_its_own]
    seen = _Seen(store, {frozenset(pair) for pair in near})
    known = ComparedSlides() if known is None else known
    keys = {record.slide_id: compared_as(record, donors[record.slide_id]) for record in slides}
    fresh = np.array([not known.has(slide_id, key) for slide_id, key in keys.items()], bool)
    pairs = sorted({*_pairs(seen, slides, donors, fresh), *_known_pairs(slides, known.alike)})
    found: dict[str, Sibling] = {}
    alike: set[tuple[str, str]] = set()
    # Those of one donor first, so that they are named where a slide has both.
    for i, j in sorted(pairs, key=lambda pair: donors[slides[pair[0]].slide_id] != donors[slides[pair[1]].slide_id]):
        one, other = slides[i], slides[j]
        ids = one.slide_id, other.slide_id
        both = donors[ids[0]], donors[ids[1]]
        what, names = seen.same(one, other, one_donor=both[0] == both[1])
        if what:
            alike.add(ids)
        if names is None:
            continue
        kind = "field" if one.input == "fields" else "cell"
        of = ("", "") if both[0] == both[1] else both
        found.setdefault(ids[0], Sibling(ids[1], names, kind, of))
        found.setdefault(ids[1], Sibling(ids[0], names[::-1], kind, of[::-1]))
    known.replace(keys, alike)
    return found


def _pairs(
    seen: _Seen, slides: Sequence[SlideRecord], donors: Mapping[str, str], fresh: npt.NDArray[np.bool_]
) -> Iterator[tuple[int, int]]:
    """Numbers of slides that are to be compared: all that may show the same, of which one at least is fresh."""
    if not fresh.any():
        return
    groups: dict[str, list[int]] = {}
    for number, record in enumerate(slides):
        groups.setdefault(donors[record.slide_id], []).append(number)
    for members in groups.values():
        yield from ((i, j) for i, j in combinations(members, 2) if fresh[i] or fresh[j])
    fields = [number for number, record in enumerate(slides) if record.input == "fields"]
    yield from ((i, j) for i, j in combinations(fields, 2) if fresh[i] or fresh[j])
    cells = [number for number, record in enumerate(slides) if record.input != "fields"]
    for i, j in pairs_to_compare([seen.cells(slides[number]) for number in cells], fresh[cells]):
        yield cells[i], cells[j]


def _known_pairs(slides: Sequence[SlideRecord], alike: Iterable[tuple[str, str]]) -> Iterator[tuple[int, int]]:
    """Those that showed the same before: whether they are copies may be another matter now."""
    numbers = {record.slide_id: number for number, record in enumerate(slides)}
    for ids in alike:
        if all(slide_id in numbers for slide_id in ids):
            yield min(numbers[ids[0]], numbers[ids[1]]), max(numbers[ids[0]], numbers[ids[1]])


class _Seen:
    """What is known of slides, read once of each.

    Args:
        copied: pairs of cells that are one picture.
    """

    def __init__(self, store: Stored, copied: set[frozenset[CellAt]]) -> None:
        self._store, self._copied = store, copied
        self._cells: dict[str, SlideCells] = {}
        self._fields: dict[str, list[FieldCells]] = {}

    def same(self, one: SlideRecord, other: SlideRecord, *, one_donor: bool) -> tuple[bool, tuple[str, str] | None]:
        """Whether they show the same, and the names of a cell or field of one slide and of what shows it in the other.

        None in place of the names where they are copies, which are counted once by another rule.
        """
        if one.input != other.input and "fields" in (one.input, other.input):
            return False, None
        if one.input == "fields":
            ours, theirs = self._fields_of(one), self._fields_of(other)
            scenes = same_scenes(ours, theirs, shifted=one_donor)
            if scenes and not _are_copies(self._store, one, other):
                return True, (ours[scenes[0][0]].name, theirs[scenes[0][1]].name)
            return bool(scenes), None
        pairs = same_cells(self.cells(one), self.cells(other), one_donor=one_donor)
        if pairs and not _saved_again(self._store, (one, other), pairs, self._copied):
            names = _cell_name(self._store, one, pairs[0][0]), _cell_name(self._store, other, pairs[0][1])
            return True, names
        return bool(pairs), None

    def cells(self, record: SlideRecord) -> SlideCells:
        """The cells of a slide that is not of fields."""
        if record.slide_id not in self._cells:
            self._cells[record.slide_id] = _cells(self._store, record)
        return self._cells[record.slide_id]

    def _fields_of(self, record: SlideRecord) -> list[FieldCells]:
        if record.slide_id not in self._fields:
            self._fields[record.slide_id] = _fields(self._store, record)
        return self._fields[record.slide_id]


# Crops, and cells of whole slides.


def _cells(store: Stored, record: SlideRecord) -> SlideCells:
    spectra = store.spectra(record)
    rows = np.flatnonzero(spectra.any(axis=1))
    # Few comparisons need pictures, and for them all scores of the slide are parsed.
    pictures = once(lambda: store.thumbnails(record))
    return SlideCells(rows, spectra[rows], lambda row: pictures()(row))


def _cell_name(store: Stored, record: SlideRecord, row: int) -> str:
    return store.scores(record)[row].cell_id


def _saved_again(
    store: Stored,
    slides: tuple[SlideRecord, SlideRecord],
    pairs: Sequence[tuple[int, int]],
    copied: set[frozenset[CellAt]],
) -> bool:
    """Whether most of these pairs are one picture: counted once by another rule, and the slides may be right."""
    one, other = slides
    ours, theirs = store.digests(one), store.digests(other)
    same = sum(
        np.array_equal(ours[i], theirs[j]) or frozenset({(one.slide_id, i), (other.slide_id, j)}) in copied
        for i, j in pairs
    )
    return 2 * same >= len(pairs)


# Fields.


def _are_copies(store: Stored, one: SlideRecord, other: SlideRecord) -> bool:
    """Whether most cells of the smaller slide have the pixels of cells of the other one."""
    ours, theirs = ({bytes(row) for row in store.digests(record) if row.any()} for record in (one, other))
    return 2 * len(ours & theirs) >= max(1, min(len(ours), len(theirs)))


def _fields(store: Stored, record: SlideRecord) -> list[FieldCells]:
    fields = store.fields(record)[:MOST_FIELDS]
    cells: list[list[FoundAt]] = [[] for _ in fields]
    for number, cell in takewhile(lambda item: item[0] < len(fields), store.found(record)):
        if cell.cell_class not in _NO_CELLS:
            cells[number].append(cell)
    return [
        FieldCells(
            name=f"{one.source.rpartition('/')[2]}{'' if one.page is None else f'#{one.page}'}",
            size=(one.height, one.width),
            places=np.array([(cell.x, cell.y) for cell in here], np.float64).reshape(-1, 2),
            diameter=_diameter(here),
        )
        for one, here in zip(fields, cells, strict=True)
    ]


def _diameter(cells: Sequence[FoundAt]) -> float:
    areas = [cell.nucleus_area / max(1, cell.nuclei) for cell in cells if cell.nucleus_area]
    return 2 * math.sqrt(float(np.median(areas)) / math.pi) if areas else 0.0
