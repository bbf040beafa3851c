"""Slides of one donor that show the same cells or fields, in another focal plane or stain: neither is counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, takewhile
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mnbatch.assay.cells import ScoreRow
from mnbatch.assay.copies import CellAt
from mnbatch.assay.field_records import FoundAt
from mnbatch.assay.same_scene_fields import MOST_FIELDS, FieldCells, same_scenes
from mnbatch.assay.same_scene_slides import SlideCells, same_cells
from mnbatch.results.field_rows import StoredField
from mnbatch.results.records import SlideRecord

NEXT_STEP = (
    "Export one focal plane or stain alone; or say what the folders are with --layout, such as "
    "'{slide}/{plane}/{cell}.png' or with {channel} (docs/exports.md), in a new --out; or give --names plain, if these "
    "are slides of different cells."
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
    """

    slide_id: str
    what: tuple[str, str]
    kind: str

    def reason(self) -> str:
        """Why the slide fails."""
        return (
            f"it shows the same {self.kind}s as slide {self.slide_id} of the same donor ({self.what[0]} and "
            f"{self.what[1]}), in another focal plane or stain: they would be counted twice"
        )


def find_siblings(
    store: Stored, records: Sequence[SlideRecord], donors: Mapping[str, str], near: Sequence[tuple[CellAt, CellAt]]
) -> dict[str, Sibling]:
    """Slides that show what another slide of their donor shows, each with the first such slide.

    Args:
        records: slides with a usable result.
        donors: slide_id -> donor, of slides that have one.
        near: pairs of cells that show the same picture saved again; those are counted once by another rule.
    """
    groups: dict[str, list[SlideRecord]] = {}
    for record in records:
        if record.slide_id in donors and not record.each_its_own:
            groups.setdefault(donors[record.slide_id], []).append(record)
    found: dict[str, Sibling] = {}
    copied = {frozenset(pair) for pair in near}
    for slides in groups.values():
        if len(slides) > 1:
            _compare(store, slides, copied, found)
    return found


def _compare(
    store: Stored, slides: Sequence[SlideRecord], copied: set[frozenset[CellAt]], found: dict[str, Sibling]
) -> None:
    cells = {one.slide_id: _cells(store, one) for one in slides if one.input != "fields"}
    fields = {one.slide_id: _fields(store, one) for one in slides if one.input == "fields"}
    for one, other in combinations(slides, 2):
        ids = one.slide_id, other.slide_id
        names: tuple[str, str] | None = None
        if one.slide_id in fields and other.slide_id in fields:
            scenes = same_scenes(*(fields[slide_id] for slide_id in ids))
            if scenes and not _are_copies(store, one, other):
                names = fields[ids[0]][scenes[0][0]].name, fields[ids[1]][scenes[0][1]].name
        elif one.slide_id in cells and other.slide_id in cells:
            pairs = same_cells(*(cells[slide_id] for slide_id in ids))
            if pairs and not _saved_again(store, (one, other), pairs, copied):
                names = _cell_name(store, one, pairs[0][0]), _cell_name(store, other, pairs[0][1])
        if names is not None:
            kind = "field" if one.slide_id in fields else "cell"
            found.setdefault(ids[0], Sibling(ids[1], names, kind))
            found.setdefault(ids[1], Sibling(ids[0], names[::-1], kind))


# Crops, and cells of whole slides.


def _cells(store: Stored, record: SlideRecord) -> SlideCells:
    spectra = store.spectra(record)
    rows = np.flatnonzero(spectra.any(axis=1))
    return SlideCells(rows, spectra[rows], store.thumbnails(record))


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
